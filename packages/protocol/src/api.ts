import type {
  AttachmentKey,
  AttachResult,
  ErrorCode,
  OffloadFlags,
  PodIdentity,
  RepairRecord,
  VfAdminSetting,
  VfId,
} from '@cni-offload/sdk'

/** Protocol versions that this build speaks. Host and agent use the highest that both speak. */
export const PROTOCOL_VERSIONS: { readonly min: number; readonly max: number } = { min: 1, max: 1 }

/** Who is at the other end, from its certificate's URI SAN `spiffe://cni-offload/<role>/<node>`. */
export interface PeerIdentity {
  /** What it is. */
  readonly role: 'host' | 'agent'
  /** Node that it belongs to. */
  readonly node: string
}

/** What every call carries. */
export interface CallContext {
  /** Client: aborting it cancels the call. Server: aborted when the client cancelled, went away or its deadline passed. */
  readonly signal: AbortSignal
  /** Milliseconds that the call may take; the server gets it as deadline. Default 10 000, of a resync 600 000. */
  readonly timeoutMs?: number
  /** Server side: who calls. */
  readonly peer?: PeerIdentity
  /** Correlates logs of host and agent. */
  readonly requestId?: string
}

/** First call on a connection. */
export interface HandshakeCall {
  /** Lowest and highest protocol version that the host speaks. */
  readonly protocol: { readonly min: number; readonly max: number }
  /** Node name of the host. */
  readonly node: string
  /** The host kernel's boot id: another one means that every pod of before is gone. */
  readonly bootId: string
  /** Optional features that the host understands. */
  readonly features: readonly string[]
}

/** The agent's answer. */
export interface HandshakeReply {
  /** The version that both will speak. */
  readonly protocol: number
  /** Differs for each run of the agent: another one means that a resync is due. */
  readonly instanceId: string
  /** Networks that the agent serves; `*` serves every name. */
  readonly networks: readonly string[]
  /** Optional features that the agent understands. */
  readonly features: readonly string[]
  /** VFs that networks keep for themselves; all other networks share the rest. */
  readonly kept: readonly KeptVfs[]
}

/** VFs that one network keeps for itself. */
export interface KeptVfs {
  /** Name of the network; `*` for all names that no adapter is named for. */
  readonly network: string
  /** The VFs. */
  readonly vfs: readonly VfId[]
}

/** One attachment to make. */
export interface AttachCall {
  /** Identity; idempotent on it. */
  readonly key: AttachmentKey
  /** Whose interface it is. */
  readonly pod: PodIdentity
  /** The VF leased for it. */
  readonly vf: VfId
  /** MAC that the VF has now. */
  readonly vfMac: string
  /** Netconf as decoded JSON. */
  readonly netconf: Readonly<Record<string, unknown>>
  /** Result of the previous plugin of the list. */
  readonly prevResult?: Readonly<Record<string, unknown>>
  /** Capability arguments. */
  readonly runtimeConfig: Readonly<Record<string, unknown>>
  /** CNI_ARGS, parsed. */
  readonly cniArgs: Readonly<Record<string, string>>
  /** Addresses when IPAM was done on the host. */
  readonly hostIpam?: Pick<AttachResult, 'ips' | 'routes' | 'dns'>
  /** VLAN id when the network is tagged. */
  readonly vlan?: number
  /** Options of the offload. */
  readonly flags: OffloadFlags
  /** What the host can have the VF's physical function enforce; absent if nothing, and from hosts of before. Never empty. */
  readonly hostEnforces?: readonly VfAdminSetting[]
  /** During a resync: what the running pod has and goes on using. Never in a call of its own. */
  readonly had?: AttachResult
}

/** What an attachment got. */
export interface AttachReply {
  /** What the host must apply. */
  readonly result: AttachResult
  /** Name of the port on the DPU, for people. */
  readonly port: string
}

/** One attachment as the agent's journal has it. */
export interface AttachmentState {
  /** Identity. */
  readonly key: AttachmentKey
  /** Its VF. */
  readonly vf: VfId
  /** Name of its port. */
  readonly port: string
  /** Where it stands. `unknown`: as only a newer agent knows it. */
  readonly state: 'attaching' | 'attached' | 'detaching' | 'unknown'
  /** What it got, once attached. */
  readonly result?: AttachResult
  /** What the host asked for: a host that has lost its journal learns here what it had. Agents of before that do not tell. */
  readonly request?: AttachCall
  /** What the agent's reconciler did about it lately, oldest first. Agents without one do not tell. */
  readonly repairs?: readonly RepairRecord[]
}

/** What the agent did for one attachment during a resync. */
export interface ResyncEvent {
  /** Identity. */
  readonly key: AttachmentKey
  /**
   * `kept`: was fine. `reattached`: was missing and is back. `detached`: was a stray. `failed`: see `error`. `unknown`: something that
   * only a newer agent knows; whether the attachment is there now is open.
   */
  readonly action: 'kept' | 'reattached' | 'detached' | 'failed' | 'unknown'
  /** Result after `kept` or `reattached`. */
  readonly result?: AttachResult
  /** Why it failed. */
  readonly error?: { readonly code: ErrorCode; readonly message: string }
}

/** Feature of the handshake: {@link OffloadApi.heartbeat} may be called. */
export const HEARTBEAT = 'heartbeat'

/** The host lives. */
export interface HostBeat {
  /** The daemon stops in an orderly way: its silence from now on is no loss. Nothing follows. */
  readonly stopping: boolean
}

/** The agent lives. */
export interface AgentBeat {
  /** The agent stops in an orderly way and lets calls end; another run of it is expected soon. Nothing follows. */
  readonly restarting: boolean
}

/**
 * `offload.v1` in the project's own terms. The client implements it over gRPC, the agent implements it for real; both
 * reject with OffloadError, code, message and hint crossing the wire unchanged.
 */
export interface OffloadApi {
  /** Agrees on a version. @throws OffloadError INCOMPATIBLE_PEER, PERMISSION_DENIED */
  handshake(call: HandshakeCall, ctx: CallContext): Promise<HandshakeReply>
  /** Makes an attachment; idempotent on the key. */
  attach(call: AttachCall, ctx: CallContext): Promise<AttachReply>
  /** Ends an attachment; absent is success. */
  detach(call: { readonly key: AttachmentKey; readonly vf?: VfId }, ctx: CallContext): Promise<void>
  /** Checks an attachment on the DPU. @throws OffloadError CHECK_FAILED */
  check(call: { readonly key: AttachmentKey; readonly expected?: AttachResult }, ctx: CallContext): Promise<void>
  /** Whether attachments to a network (all, if absent) can be made. @throws OffloadError NOT_READY, LIMITED_CONNECTIVITY */
  status(call: { readonly network?: string }, ctx: CallContext): Promise<void>
  /** All attachments of the calling host. */
  list(ctx: CallContext): Promise<AttachmentState[]>
  /**
   * Brings the agent in line with the host: `wired` is everything that the host has; what the agent lacks is attached
   * again, what it has in excess is detached. One event per attachment.
   *
   * `wired` that ends normally is everything. If the host goes away before it has sent everything, iterating `wired` throws
   * instead, and what has not come must not be taken for strays.
   */
  resync(wired: AsyncIterable<AttachCall>, ctx: CallContext): AsyncIterable<ResyncEvent>
  /**
   * Both tell that they live, for as long as a connection lives, if both named the feature {@link HEARTBEAT} in their handshake. It has
   * no deadline. `beats` that ends normally says that the daemon stops; if it goes away, iterating `beats` throws.
   */
  heartbeat(beats: AsyncIterable<HostBeat>, ctx: CallContext): AsyncIterable<AgentBeat>
}

/** PEM files of one end of the mTLS connection. Read at start and again when they change. */
export interface TlsFiles {
  /** Certificate of the authority that signed the peer. */
  readonly ca: string
  /** Own certificate chain. */
  readonly cert: string
  /** Own private key. */
  readonly key: string
}
