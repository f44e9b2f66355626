import { callCni, type CniOutcome, type LabNode } from '@cni-offload/cli'
import type { E2eLab } from '../fixture.ts'

/** Where Debian's CNI plugins lie. */
const STOCK = '/usr/lib/cni'

type Json = Record<string, any>

/** One entry of a pod's annotation `k8s.v1.cni.cncf.io/networks`, and what kubelet allocated for its resource. */
export interface Selection {
  /** The NetworkAttachmentDefinition, as the API server has it. */
  readonly definition: Json
  /** Interface in the pod. */
  readonly ifName: string
  /** Device that kubelet allocated. */
  readonly deviceId?: string
  /** `cni-args` of the annotation. */
  readonly cniArgs?: Json
  /** Capability arguments of the annotation: `mac`, `ips`, … . */
  readonly capabilityArgs?: Json
}

/** A pod whose networks are attached as Multus does it. */
export interface MultusPod {
  readonly name: string
  readonly uid: string
}

/** A delegate: the plugins of one network with what is put into them, and the result that DEL needs. */
interface Delegate {
  readonly list: Json
  readonly ifName: string
  readonly runtimeConfig: Json
  result?: Json
}

/** A failed call. */
export class DelegateError extends Error {
  readonly outcome: CniOutcome
  constructor(verb: string, ifName: string, plugin: string, outcome: CniOutcome) {
    super(`${verb} ${ifName} ${plugin}: ${outcome.stdout}${outcome.stderr}`)
    this.outcome = outcome
  }
}

/**
 * Calls CNI plugins as Multus does: the cluster's default network as eth0, then what NetworkAttachmentDefinitions say as
 * net1, net2, …; DEL in the reverse order. The plugins are the compiled shim, and real ones of Debian.
 */
export class MultusCaller {
  readonly #e2e: E2eLab
  readonly #node: LabNode
  readonly #devinfo: string
  readonly #delegates = new Map<string, Delegate[]>()

  constructor(e2e: E2eLab, node: LabNode) {
    this.#e2e = e2e
    this.#node = node
    this.#devinfo = `${node.dir}/devinfo/cni`
  }

  /** Path of the device information file of an attachment; its name is made as Multus makes it. */
  deviceInfoFile(network: string, pod: MultusPod, ifName: string): string {
    return `${this.#devinfo}/${network}-${pod.uid}-${ifName}`
  }

  /** Attaches all networks in their order. If one fails, those before it are removed again, last first, and it rejects. */
  async add(pod: MultusPod, selections: readonly Selection[]): Promise<Json[]> {
    const results: Json[] = []
    try {
      for (const selection of selections) results.push(await this.attach(pod, selection))
      return results
    } catch (error) {
      await this.del(pod)
      throw error
    }
  }

  /** Attaches one network: ADD of its plugins in order, each with the result of the one before. */
  async attach(pod: MultusPod, selection: Selection): Promise<Json> {
    const delegate = this.#prepare(pod, selection)
    const known = this.#delegates.get(pod.name) ?? []
    this.#delegates.set(pod.name, [...known, delegate])
    for (const plugin of delegate.list['plugins']) {
      const outcome = await this.#call('ADD', pod, delegate, plugin)
      if (outcome.exitCode !== 0) {
        // Plugins behind the one that failed never ran, and not all of them take a DEL then.
        await this.#remove(pod, delegate).catch(() => {})
        this.#delegates.set(pod.name, known)
        throw new DelegateError('ADD', delegate.ifName, plugin.type, outcome)
      }
      delegate.result = outcome.json as Json
    }
    return delegate.result as Json
  }

  /** CHECK of every plugin of every network. */
  async check(pod: MultusPod): Promise<void> {
    for (const delegate of this.#delegates.get(pod.name) ?? [])
      for (const plugin of delegate.list['plugins']) {
        const outcome = await this.#call('CHECK', pod, delegate, plugin)
        if (outcome.exitCode !== 0) throw new DelegateError('CHECK', delegate.ifName, plugin.type, outcome)
      }
  }

  /** Removes all networks in the reverse order, or only those of the given interfaces, in theirs. */
  async del(pod: MultusPod, only?: readonly string[]): Promise<void> {
    const all = this.#delegates.get(pod.name) ?? []
    const due = only === undefined ? all.toReversed() : only.map((name) => all.find(({ ifName }) => ifName === name)!)
    for (const delegate of due) await this.#remove(pod, delegate)
    this.#delegates.set(
      pod.name,
      all.filter((delegate) => !due.includes(delegate)),
    )
  }

  async #remove(pod: MultusPod, delegate: Delegate): Promise<void> {
    for (const plugin of delegate.list['plugins'].toReversed()) {
      const outcome = await this.#call('DEL', pod, delegate, plugin)
      if (outcome.exitCode !== 0) throw new DelegateError('DEL', delegate.ifName, plugin.type, outcome)
    }
  }

  /** From the object to plugins: conf or conflist, the name from the object where there is none, the device in each plugin. */
  #prepare(pod: MultusPod, { definition, ifName, deviceId, cniArgs, capabilityArgs }: Selection): Delegate {
    const config = JSON.parse(definition['spec'].config) as Json
    const name = config['name'] ?? definition['metadata'].name
    const plugins: Json[] = config['plugins'] ?? [config]
    const injected = plugins.map((plugin) => ({
      ...plugin,
      ...(deviceId === undefined ? {} : { deviceID: deviceId, pciBusID: deviceId }),
      ...(cniArgs === undefined ? {} : { args: { ...plugin['args'], cni: { ...plugin['args']?.cni, ...cniArgs } } }),
    }))
    const runtimeConfig = {
      ...capabilityArgs,
      ...(deviceId === undefined ? {} : { deviceID: deviceId }),
      CNIDeviceInfoFile: this.deviceInfoFile(name, pod, ifName),
    }
    return { list: { name, cniVersion: config['cniVersion'] ?? '1.0.0', plugins: injected }, ifName, runtimeConfig }
  }

  async #call(verb: string, pod: MultusPod, { list, ifName, runtimeConfig, result }: Delegate, plugin: Json): Promise<CniOutcome> {
    const { lab } = this.#e2e
    const declared = Object.entries(runtimeConfig).filter(([capability]) => plugin['capabilities']?.[capability] === true)
    const executable = plugin['type'] === 'offload-cni' ? this.#node.shim : `${STOCK}/${plugin['type']}`
    return await callCni(executable, lab.netns(this.#node, 'host'), {
      verb,
      containerId: pod.name,
      netns: lab.podPath(pod.name),
      ifName,
      args: `IgnoreUnknown=true;K8S_POD_NAMESPACE=e2e;K8S_POD_NAME=${pod.name};K8S_POD_INFRA_CONTAINER_ID=${pod.name};K8S_POD_UID=${pod.uid}`,
      stdin: {
        ...plugin,
        name: list['name'],
        cniVersion: list['cniVersion'],
        ...(result === undefined ? {} : { prevResult: result }),
        ...(declared.length === 0 ? {} : { runtimeConfig: Object.fromEntries(declared) }),
      },
      env: { ...this.#node.env, CNI_PATH: STOCK },
    })
  }
}

/** A NetworkAttachmentDefinition with a configuration in its `spec.config`, as text. */
export function definition(name: string, config: object): Json {
  return {
    apiVersion: 'k8s.cni.cncf.io/v1',
    kind: 'NetworkAttachmentDefinition',
    metadata: { name, namespace: 'e2e', annotations: { 'k8s.v1.cni.cncf.io/resourceName': 'cni-offload.io/vf' } },
    spec: { config: JSON.stringify(config) },
  }
}
