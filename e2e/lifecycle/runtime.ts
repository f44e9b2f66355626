import { formatAttachmentKey } from '@cni-offload/sdk'
import { aborted } from '@cni-offload/sdk/runtime'
import { ipamOf } from './fake-ipam.ts'
import { keyOf, type ModelNode } from './node.ts'
import type { Turns } from './turns.ts'

/** A GC is a call for no pod. The runtime begins no ADD while one is under way: it would not be in its list. */
const GC = '*'

const netnsOf = (pod: string): string => `/run/netns/${pod}`

/** What a container runtime was told that a pod has. */
export interface Told {
  readonly netns: string
  readonly mac: string
  readonly address: string
  readonly result: object
}

/**
 * What a container runtime does and knows. It makes one call at a time for each pod; one that it has given up on may still be
 * at work in the daemon while it makes the next one.
 */
export class Runtime {
  /** Pods that run, with what they have. */
  readonly told = new Map<string, Told>()
  /** Pods whose end the daemon has taken over, and that did not come back since. */
  readonly ended = new Set<string>()
  /** Pods that were found to be in order when the runtime asked last. */
  readonly sound = new Set<string>()
  readonly #node: ModelNode
  readonly #turns: Turns
  /** How a call that is under way is given up. */
  readonly #calls = new Map<string, AbortController>()

  constructor(node: ModelNode, turns: Turns) {
    this.#node = node
    this.#turns = turns
  }

  /** Whether a call for a pod is under way. */
  isBusy(pod: string): boolean {
    return this.#calls.has(pod)
  }

  /** Whether any call is under way. */
  get busy(): boolean {
    return this.#calls.size > 0
  }

  add(pod: string): void {
    if (this.isBusy(GC)) return
    const netns = this.#node.kernel.makeNetns(netnsOf(pod))
    this.ended.delete(pod)
    this.#call('ADD', pod, ipamOf(pod), (result) => {
      if (this.#node.kernel.namespaces.get(netnsOf(pod)) !== netns) return
      const { interfaces, ips } = result as { interfaces: { mac: string }[]; ips: { address: string }[] }
      this.told.set(pod, { netns, mac: interfaces[0]?.mac ?? '', address: ips[0]?.address ?? '', result })
    })
  }

  del(pod: string): void {
    // From here on the runtime takes it for gone.
    this.told.delete(pod)
    this.#call('DEL', pod, {}, () => void this.ended.add(pod))
  }

  check(pod: string): void {
    const told = this.told.get(pod)
    this.sound.delete(pod)
    if (told !== undefined) this.#call('CHECK', pod, { prevResult: told.result }, () => void this.sound.add(pod))
  }

  /** Ends what the runtime does not know: neither running nor being made. */
  gc(): void {
    const valid = new Set([...this.told.keys(), ...this.#calls.keys()].filter((pod) => pod !== GC))
    const list = [...valid].map((pod) => ({ containerID: pod, ifname: 'eth0' }))
    this.#call('GC', GC, { ...ipamOf('a'), 'cni.dev/valid-attachments': list, 'cni.dev/attachments': list }, () => {})
  }

  giveUp(pod: string): void {
    this.#calls.get(pod)?.abort()
    this.#calls.delete(pod)
  }

  /** The pod's sandbox goes, with what is inside. */
  removeSandbox(pod: string): void {
    this.told.delete(pod)
    this.#node.kernel.removeNetns(netnsOf(pod))
  }

  /** What running pods lack. */
  lacking(): string[] {
    const { kernel, network, ipam, host, agent } = this.#node
    return [...this.told].flatMap(([pod, { netns, mac, address }]) => {
      const vf = kernel.find(netns, 'eth0')
      if (vf === undefined) return [`${pod} runs and has no interface`]
      const lacks: string[] = []
      if (address.startsWith('10.1.') && ipam.held.get(pod) !== address)
        lacks.push(`${pod} has ${address}, and the IPAM plugin has ${ipam.held.get(pod)} for it`)
      const { now } = vf
      if (!now.up || now.mac !== mac || !now.addresses.includes(address)) lacks.push(`${pod} has ${JSON.stringify(now)}, not ${address}`)
      const connected = network.connected.get(formatAttachmentKey(keyOf(pod)))
      if (connected?.port !== `port${vf.index}` || connected.result.mac !== mac)
        lacks.push(`${pod} is not connected on the DPU: ${JSON.stringify(connected)}`)
      const [row, known] = [host?.journal?.get(keyOf(pod)), agent?.journal?.get(keyOf(pod))]
      if (host?.journal !== undefined && (row?.phase !== 'wired' || row.vf.index !== vf.index || row.netnsIdentity !== netns))
        lacks.push(`the host has ${row?.phase ?? 'nothing'} of ${pod}`)
      if (agent?.journal !== undefined && (known?.state !== 'attached' || known.vf.index !== vf.index))
        lacks.push(`the agent has ${known?.state ?? 'nothing'} of ${pod}`)
      return lacks
    })
  }

  #call(verb: string, pod: string, conf: object, success: (result: object) => void): void {
    const { host } = this.#node
    if (host?.handle === undefined) return
    const whose = { CNI_CONTAINERID: pod, CNI_NETNS: netnsOf(pod), CNI_IFNAME: 'eth0' }
    const env = { CNI_COMMAND: verb, CNI_PATH: '/opt/cni/bin', ...(verb === 'GC' ? {} : whose) }
    const stdin = JSON.stringify({ cniVersion: '1.1.0', name: 'net', type: 'offload-cni', ...conf })
    const call = new AbortController()
    this.#calls.set(pod, call)
    const died = aborted(host.life.gone).then(() => undefined)
    void Promise.race([died, host.handle({ v: 1, kind: 'cni', env, stdin, deadlineMs: 120_000 }, call.signal)]).then((reply) => {
      // Nobody listens any more.
      if (this.#calls.get(pod) !== call) return
      this.#calls.delete(pod)
      this.#turns.trace.push(
        `${verb} ${pod}: ${reply === undefined ? 'the daemon has died' : `${reply.exitCode} ${reply.output.replace(/^.*"msg":/, '').slice(0, 120)}`}`,
      )
      if (reply?.exitCode === 0) success(reply.output === '' ? {} : (JSON.parse(reply.output) as object))
    })
  }
}
