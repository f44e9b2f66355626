import { join } from 'node:path'
import type { Lab, LabNode } from '@cni-offload/cli'
import { parseNote } from '@cni-offload/linux/function'
import type { LinuxNet } from '@cni-offload/linux'
import { type Clock, formatVfId } from '@cni-offload/sdk'
import type { CniResult } from '@cni-offload/sdk/cni'
import { reaches } from '@cni-offload/testing'
import type { Calls, Pod } from './calls.ts'
import type { Claims } from './claims.ts'
import type { Random } from './random.ts'
import type { Tally } from './tally.ts'

/** A DEL that has not succeeded after so long is lost. */
const DEL_MS = 120_000

/** Names of pods to come that a GC has to leave alone, since they may be there before it is: far more than it can take. */
const NAMES_AHEAD = 50

/** A pod is ended properly also when the run is over. */
const UNHURRIED: AbortSignal = new AbortController().signal

/** What all workers share. */
export interface WorkerDeps {
  /** The lab. */
  readonly lab: Lab
  /** Kernel. */
  readonly net: LinuxNet
  /** Time. */
  readonly clock: Clock
  /** The shim. */
  readonly calls: Calls
  /** What every pod has. */
  readonly claims: Claims
  /** What happens. */
  readonly tally: Tally
  /** Address of a pod that runs all the time, on any node. */
  readonly anybody: (numbers: Random) => string
  /** Names of all pods of a node that a GC has to leave alone. */
  readonly valid: (node: LabNode) => readonly string[]
}

/** Makes and ends pods on one node, one after the other, as kubelet and its container runtime would. */
export class Worker {
  readonly #deps: WorkerDeps
  readonly #id: number
  readonly #node: LabNode
  readonly #numbers: Random
  #count = 0
  #ending = false

  /** @param id - from 0, a number that no other worker has */
  constructor(deps: WorkerDeps, id: number, node: LabNode, numbers: Random) {
    this.#deps = deps
    this.#id = id
    this.#node = node
    this.#numbers = numbers
  }

  /** Makes and ends pods until the signal aborts; what has begun is ended properly. */
  async run(signal: AbortSignal): Promise<void> {
    while (!signal.aborted) await this.#live(signal)
  }

  /** Names of this worker's pods that a GC has to leave alone. */
  get valid(): string[] {
    return Array.from({ length: NAMES_AHEAD }, (_, at) => this.#name(this.#count + at)).slice(this.#ending ? 1 : 0)
  }

  #name(count: number): string {
    return `w${this.#id}n${count}`
  }

  async #live(signal: AbortSignal): Promise<void> {
    const { lab, claims, calls, valid } = this.#deps
    const numbers = this.#numbers
    const pod: Pod = { name: this.#name(this.#count), node: this.#node }
    await lab.createPod(pod.name)
    const added = await this.#add(pod, signal)
    if (added !== undefined) await this.#use(pod, added)
    claims.release(pod.name)
    this.#ending = true
    if (numbers.chance(0.15)) await lab.deletePod(pod.name)
    // The runtime has forgotten the pod, and its DEL comes late.
    if (numbers.chance(0.05)) await calls.gc(pod, valid(this.#node))
    if ((await this.#del(pod)) && numbers.chance(0.1)) await this.#del(pod)
    await lab.deletePod(pod.name)
    this.#count++
    this.#ending = false
  }

  /** ADD until it succeeds or the pod is given up. A DEL precedes each further attempt. @returns the result as it came */
  async #add(pod: Pod, signal: AbortSignal): Promise<object | undefined> {
    const { calls, claims } = this.#deps
    const conf = this.#numbers.chance(0.3) ? withDeviceInfo(pod) : {}
    for (let attempts = this.#numbers.between(1, 6); attempts > 0 && !signal.aborted; attempts--) {
      const called = await calls.call('ADD', pod, conf)
      if (called.end === 'ok' && called.result !== undefined) {
        claims.take(pod.name, await this.#given(pod, called.result))
        return called.json
      }
      if (attempts === 1 || !(await this.#del(pod))) return undefined
      await this.#deps.clock.sleep(this.#numbers.between(100, 500), UNHURRIED)
    }
    return undefined
  }

  /** What an ADD gave the pod, and no other pod may have. */
  async #given(pod: Pod, { interfaces, ips }: CniResult): Promise<string[]> {
    const link = await this.#deps.net.link(this.#deps.lab.podPath(pod.name), 'eth0')
    const note = parseNote(link?.alias ?? '')
    if (note === undefined) this.#deps.tally.defects.silent.push(`${pod.name}: ADD has succeeded, and there is no eth0 with a VF`)
    return [
      ...interfaces.flatMap(({ mac }) => (mac === undefined ? [] : [`MAC ${mac}`])),
      ...ips.map(({ address }) => `address ${address}`),
      ...(note === undefined ? [] : [`VF ${formatVfId(note.vf)} of ${pod.node.name}`]),
    ]
  }

  async #use(pod: Pod, prevResult: object): Promise<void> {
    const { clock, lab, tally, anybody, calls } = this.#deps
    const numbers = this.#numbers
    await clock.sleep(numbers.between(0, 400), UNHURRIED)
    if (numbers.chance(0.1)) {
      const to = anybody(numbers)
      if (!(await reaches(lab.podPath(pod.name), to, { withinSeconds: 10 })))
        tally.defects.silent.push(`${pod.name} of ${pod.node.name} does not reach ${to}`)
    }
    if (numbers.chance(0.25)) await calls.call('CHECK', pod, { prevResult })
  }

  /** DEL until it succeeds. @returns whether it did */
  async #del(pod: Pod): Promise<boolean> {
    const { calls, clock, tally } = this.#deps
    const deadline = clock.monotonic() + DEL_MS
    for (;;) {
      const called = await calls.call('DEL', pod)
      if (called.end === 'ok') return true
      if (clock.monotonic() > deadline) {
        tally.defects.lostDels.push(`${pod.name} of ${pod.node.name}: ${called.end === 'refused' ? called.msg : called.end}`)
        return false
      }
      await clock.sleep(this.#numbers.between(250, 1_000), UNHURRIED)
    }
  }
}

/** Has the host daemon write a file about the VF, as a meta-plugin does. */
function withDeviceInfo({ name, node }: Pod): object {
  const runtimeConfig = { CNIDeviceInfoFile: join(node.dir, 'devinfo', 'cni', `${name}-eth0`) }
  return { capabilities: { CNIDeviceInfoFile: true }, runtimeConfig }
}
