import type { OffloadError, PodIdentity } from '@cni-offload/sdk'
import { parseCniArgs } from '@cni-offload/sdk/cni'

/** A CNI call about one attachment that failed. */
export interface CallFailure {
  /** When, milliseconds since the epoch. */
  readonly at: number
  /** CNI_COMMAND. */
  readonly verb: string
  /** CNI_CONTAINERID. */
  readonly containerId: string
  /** CNI_IFNAME. */
  readonly ifName: string
  /** Whose it is, as far as the runtime said. */
  readonly pod: PodIdentity
  /** Stable code of the error. */
  readonly code: string
  /** What happened and why. */
  readonly message: string
  /** What to do. */
  readonly hint: string | undefined
}

const KEEP = 64

/** The CNI calls that failed last: of a pod whose ADD fails nothing else is left to look at. */
export class RecentFailures {
  #all: readonly CallFailure[] = []

  /** Those that are kept, oldest first. */
  get all(): readonly CallFailure[] {
    return this.#all
  }

  /** Notes one; calls without a container are not about an attachment. @param env - the caller's variables, whatever they hold */
  note(at: number, env: Readonly<Record<string, string>>, { code, message, hint }: OffloadError): void {
    const { CNI_COMMAND: verb = '', CNI_CONTAINERID: containerId = '', CNI_IFNAME: ifName = '', CNI_ARGS: args = '' } = env
    if (containerId === '') return
    const { K8S_POD_NAMESPACE: namespace = '', K8S_POD_NAME: name = '', K8S_POD_UID: uid = '' } = parseCniArgs(args)
    this.#all = [...this.#all.slice(1 - KEEP), { at, verb, containerId, ifName, pod: { namespace, name, uid }, code, message, hint }]
  }
}
