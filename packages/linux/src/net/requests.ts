import type { ErrorCode, Neighbour, Route } from '@cni-offload/sdk'
import type { FrameProgram, Link, NetnsPath, NetOp, VfAdmin } from './model.ts'

/** What each call that crosses to the worker takes and gives. */
export interface NetCalls {
  readonly links: { readonly netns: NetnsPath; readonly result: Link[] }
  readonly link: { readonly netns: NetnsPath; readonly name: string; readonly result: Link | undefined }
  readonly addresses: { readonly netns: NetnsPath; readonly dev: string; readonly linkLocal: boolean; readonly result: string[] }
  readonly tentativeAddresses: { readonly netns: NetnsPath; readonly dev?: string; readonly result: string[] }
  readonly routes: { readonly netns: NetnsPath; readonly dev: string; readonly result: Route[] }
  readonly neighbours: { readonly netns: NetnsPath; readonly dev: string; readonly result: Neighbour[] }
  readonly vfs: { readonly netns: NetnsPath; readonly dev: string; readonly result: VfAdmin[] }
  readonly programs: { readonly netns: NetnsPath; readonly dev: string; readonly result: FrameProgram[] }
  readonly forwarding: { readonly netns: NetnsPath; readonly dev: string; readonly result: string[] }
  readonly redirectTarget: { readonly netns: NetnsPath; readonly dev: string; readonly result: string | undefined }
  readonly apply: { readonly netns: NetnsPath; readonly ops: readonly NetOp[]; readonly result: undefined }
  readonly createNetns: { readonly name: string; readonly result: NetnsPath }
  readonly deleteNetns: { readonly name: string; readonly result: undefined }
}

/** Name of a call. */
export type NetCall = keyof NetCalls

/** A call as plain data. */
export type NetRequest = { [Call in NetCall]: { readonly call: Call } & Omit<NetCalls[Call], 'result'> }[NetCall]

/** Result of any call. */
export type NetResult = NetCalls[NetCall]['result']

/** What the worker answers. */
export type NetReply =
  | { readonly id: number; readonly ok: true; readonly result: NetResult }
  | { readonly id: number; readonly ok: false; readonly code: ErrorCode; readonly message: string; readonly hint: string | undefined }

/** What the worker is told. */
export type NetOrder = { readonly id: number; readonly request: NetRequest } | 'close'
