import { fileURLToPath } from 'node:url'
import { OffloadError, parseWith } from '@cni-offload/sdk'
import { Client, credentials, type ServiceDefinition, type ServiceError, status } from '@grpc/grpc-js'
import { loadSync } from '@grpc/proto-loader'
import type { z } from 'zod'
import {
  containerReply,
  type ContainerSpec,
  execReply,
  type ExecSyncResult,
  listReply,
  type PodSpec,
  runReply,
  type RuntimeCondition,
  sandboxInfo,
  sandboxReply,
  type SandboxStatus,
  statusReply,
  versionReply,
} from './model.ts'
import { containerMessage, podMessage } from './messages.ts'

/** How a call is made. */
export interface CriCall {
  /** The deadline, in milliseconds from now. @defaultValue 60000 */
  readonly timeoutMs?: number
}

const PROTO = fileURLToPath(new URL('../../proto/cri.proto', import.meta.url))

/**
 * Talks to a container runtime over its unix socket as kubelet does (CRI, runtime.v1).
 *
 * Every method rejects with an OffloadError whose message names the call and has the runtime's own words:
 * DEADLINE_EXCEEDED, NOT_FOUND, NOT_READY (nobody answers), IO_FAILURE for everything else.
 *
 * @see https://github.com/kubernetes/cri-api
 */
export class CriClient implements Disposable {
  readonly #client: Client
  readonly #methods: ServiceDefinition
  readonly #cgroupParent: string

  /**
   * Connects when the first call is made.
   *
   * @param socket - path of the runtime's socket
   * @param cgroupParent - control group that pods lie below, as kubelet gives it; the runtime's own choice by default
   */
  constructor(socket: string, cgroupParent: string = '') {
    this.#cgroupParent = cgroupParent
    this.#client = new Client(`unix:${socket}`, credentials.createInsecure())
    this.#methods = runtimeService()
  }

  /** Name and version of the runtime. */
  async version(call: CriCall = {}): Promise<{ readonly runtimeName: string; readonly runtimeVersion: string }> {
    return await this.#call('Version', {}, versionReply, call)
  }

  /** Conditions of the runtime, `RuntimeReady` and `NetworkReady` among them. */
  async conditions(call: CriCall = {}): Promise<readonly RuntimeCondition[]> {
    return (await this.#call('Status', {}, statusReply, call)).status.conditions
  }

  /** Makes a pod's sandbox with its network. @returns its id */
  async runPodSandbox(pod: PodSpec, call: CriCall = {}): Promise<string> {
    return (await this.#call('RunPodSandbox', { config: podMessage(pod, this.#cgroupParent) }, runReply, call)).podSandboxId
  }

  /** Ends a sandbox and takes its network down. */
  async stopPodSandbox(id: string, call: CriCall = {}): Promise<void> {
    await this.#call('StopPodSandbox', { podSandboxId: id }, undefined, call)
  }

  /** Removes a sandbox; ends it first if it runs. */
  async removePodSandbox(id: string, call: CriCall = {}): Promise<void> {
    await this.#call('RemovePodSandbox', { podSandboxId: id }, undefined, call)
  }

  /** State, addresses, process and namespace of a sandbox. */
  async podSandboxStatus(id: string, call: CriCall = {}): Promise<SandboxStatus> {
    const { status: found, info } = await this.#call('PodSandboxStatus', { podSandboxId: id, verbose: true }, sandboxReply, call)
    const { pid, runtimeSpec } = parseWith(sandboxInfo, JSON.parse(info['info'] ?? 'null'), 'CRI PodSandboxStatus: info', 'UNDECODABLE')
    const { ip = '', additionalIps = [] } = found.network ?? {}
    return {
      ready: found.state === 'SANDBOX_READY',
      ips: [ip, ...additionalIps.map((more) => more.ip)].filter((address) => address !== ''),
      pid,
      netns: runtimeSpec?.linux.namespaces.find(({ type }) => type === 'network')?.path ?? '',
    }
  }

  /** All sandboxes that the runtime knows. */
  async listPodSandboxes(call: CriCall = {}): Promise<readonly { readonly id: string; readonly name: string; readonly uid: string }[]> {
    const { items } = await this.#call('ListPodSandbox', {}, listReply, call)
    return items.map(({ id, metadata }) => ({ id, name: metadata.name, uid: metadata.uid }))
  }

  /** Makes a container in a sandbox. @returns its id */
  async createContainer(sandbox: string, pod: PodSpec, container: ContainerSpec, call: CriCall = {}): Promise<string> {
    const request = { podSandboxId: sandbox, config: containerMessage(container), sandboxConfig: podMessage(pod, this.#cgroupParent) }
    return (await this.#call('CreateContainer', request, containerReply, call)).containerId
  }

  /** Starts a container. */
  async startContainer(id: string, call: CriCall = {}): Promise<void> {
    await this.#call('StartContainer', { containerId: id }, undefined, call)
  }

  /** Ends a container at once. */
  async stopContainer(id: string, call: CriCall = {}): Promise<void> {
    await this.#call('StopContainer', { containerId: id, timeout: 0 }, undefined, call)
  }

  /** Removes a container. */
  async removeContainer(id: string, call: CriCall = {}): Promise<void> {
    await this.#call('RemoveContainer', { containerId: id }, undefined, call)
  }

  /** Runs a command in a container to its end. An exit code other than 0 is a result, not an error. */
  async execSync(id: string, cmd: readonly string[], call: CriCall = {}): Promise<ExecSyncResult> {
    const { exitCode, stdout, stderr } = await this.#call('ExecSync', { containerId: id, cmd, timeout: 30 }, execReply, call)
    return { code: exitCode, stdout: stdout.toString(), stderr: stderr.toString() }
  }

  /** Closes the connection; calls that are under way fail. */
  [Symbol.dispose](): void {
    this.#client.close()
  }

  #call<T>(name: string, request: object, reply: z.ZodType<T>, call: CriCall): Promise<T>
  #call(name: string, request: object, reply: undefined, call: CriCall): Promise<void>
  async #call<T>(name: string, request: object, reply: z.ZodType<T> | undefined, call: CriCall): Promise<T | void> {
    const method = this.#methods[name]
    if (method === undefined) throw new OffloadError('INTERNAL', `the CRI has no ${name}`)
    const { promise, resolve, reject } = Promise.withResolvers<unknown>()
    const options = { deadline: Date.now() + (call.timeoutMs ?? 60_000) }
    this.#client.makeUnaryRequest(
      method.path,
      method.requestSerialize,
      method.responseDeserialize,
      request,
      options,
      (error, value: unknown) => (error === null ? resolve(value) : reject(criError(name, error))),
    )
    const answer = await promise
    return reply === undefined ? undefined : parseWith(reply, answer, `CRI ${name}`, 'UNDECODABLE')
  }
}

function runtimeService(): ServiceDefinition {
  const service = loadSync(PROTO, { defaults: true, enums: String, longs: Number })['runtime.v1.RuntimeService']
  if (service === undefined || 'format' in service) throw new OffloadError('INTERNAL', `${PROTO} has no RuntimeService`)
  return service
}

function criError(name: string, error: ServiceError): OffloadError {
  const codes = {
    [status.DEADLINE_EXCEEDED]: 'DEADLINE_EXCEEDED',
    [status.NOT_FOUND]: 'NOT_FOUND',
    [status.UNAVAILABLE]: 'NOT_READY',
  } as const
  return new OffloadError(codes[error.code as keyof typeof codes] ?? 'IO_FAILURE', `CRI ${name}: ${error.details}`, { cause: error })
}
