import { readFile } from 'node:fs/promises'
import { callCni, type CniOutcome, type Lab, type LabNode } from '@cni-offload/cli'
import { OffloadError } from '@cni-offload/sdk'
import type { CniResult } from '@cni-offload/sdk/cni'
import { CNI_VERSION, parseAnswer } from './answer.ts'
import type { Random } from './random.ts'
import type { Tally } from './tally.ts'

/** How a call ended, as a runtime sees it. */
export type CallEnd =
  | { readonly end: 'ok'; readonly result: CniResult | undefined; readonly json: CniOutcome['json'] }
  | { readonly end: 'refused'; readonly code: number; readonly msg: string }
  | { readonly end: 'killed' }

/** One pod on one node. */
export interface Pod {
  /** Name, and container id. */
  readonly name: string
  /** Its node. */
  readonly node: LabNode
}

interface Running {
  readonly node: LabNode
  readonly kill: AbortController
}

/** Calls the shim as a runtime would, counts how calls end, and kills some of them. */
export class Calls {
  readonly #lab: Lab
  readonly #tally: Tally
  readonly #interrupted: AbortSignal | undefined
  readonly #running = new Set<Running>()
  readonly #waiting = new Set<() => void>()

  /** @param interrupted - aborts when the whole run is interrupted: Ctrl-C reaches the shims, too */
  constructor(lab: Lab, tally: Tally, interrupted?: AbortSignal) {
    this.#lab = lab
    this.#tally = tally
    this.#interrupted = interrupted
  }

  /** One call. @param conf - laid over the netconf of the node */
  async call(verb: string, pod: Pod, conf: object = {}): Promise<CallEnd> {
    const { node, name } = pod
    const kill = new AbortController()
    const running = { node, kill }
    this.#running.add(running)
    try {
      const netconf = JSON.parse(await readFile(node.netconf, 'utf8')) as object
      const outcome = await callCni(node.shim, this.#lab.netns(node, 'host'), {
        verb,
        containerId: verb === 'GC' ? '' : name,
        netns: verb === 'GC' ? '' : this.#lab.podPath(name),
        args: `IgnoreUnknown=1;K8S_POD_NAMESPACE=chaos;K8S_POD_NAME=${name}`,
        stdin: { ...netconf, cniVersion: CNI_VERSION, ...conf },
        env: node.env,
        kill: kill.signal,
      })
      return this.#count(verb, name, outcome, kill.signal.aborted || this.#interrupted?.aborted === true)
    } finally {
      this.#running.delete(running)
    }
  }

  /** GC of the network on a node. @param valid - names of the pods that stay */
  async gc(pod: Pod, valid: readonly string[]): Promise<CallEnd> {
    const list = valid.map((containerID) => ({ containerID, ifname: 'eth0' }))
    return await this.call('GC', pod, { 'cni.dev/valid-attachments': list })
  }

  /** Waits until so many ADDs have succeeded from now on, at most until the signal aborts. */
  async added(count: number, signal: AbortSignal): Promise<void> {
    if (count === 0 || signal.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    let left = count
    const one = (): void => {
      left--
      if (left === 0) resolve()
    }
    const given = (): void => resolve()
    this.#waiting.add(one)
    signal.addEventListener('abort', given, { once: true })
    await promise
    signal.removeEventListener('abort', given)
    this.#waiting.delete(one)
  }

  /** Kills the shim of a call that is under way on a node. @returns whether there was one */
  killOne(node: LabNode, numbers: Random): boolean {
    const victim = numbers.pick([...this.#running].filter((running) => running.node === node && !running.kill.signal.aborted))
    victim?.kill.abort()
    return victim !== undefined
  }

  #count(verb: string, name: string, outcome: CniOutcome, killed: boolean): CallEnd {
    const tally = this.#tally.verb(verb)
    if (outcome.exitCode === null && killed) {
      tally.killed++
      return { end: 'killed' }
    }
    const answer = parseAnswer(verb, outcome)
    if (answer.problem !== undefined) this.#tally.defects.unexpected.push(`${verb} ${name}: ${answer.problem}`)
    if ('code' in answer) {
      tally.refused.set(answer.code, (tally.refused.get(answer.code) ?? 0) + 1)
      return { end: 'refused', code: answer.code, msg: String(outcome.json?.['msg'] ?? '') }
    }
    tally.ok++
    if (verb === 'ADD') for (const one of this.#waiting) one()
    tally.ms.push(outcome.ms)
    return { end: 'ok', result: answer.result, json: outcome.json }
  }
}

/** A call on a node where all is well. @throws OffloadError NOT_READY if it fails */
export async function must(calls: Calls, verb: string, pod: Pod): Promise<CniResult | undefined> {
  const called = await calls.call(verb, pod)
  if (called.end === 'ok') return called.result
  throw new OffloadError('NOT_READY', `${verb} ${pod.name} of ${pod.node.name}, while nobody is killed: ${JSON.stringify(called)}`)
}
