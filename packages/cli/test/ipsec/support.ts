import { formatKey, generateKey, type IpsecKey } from '@cni-offload/adapter-cilium/ipsec'

export const NAMESPACE = 'kube-system'
export const PLACE = { namespace: NAMESPACE, name: 'cilium-ipsec-keys' }
export const GET_SECRET = `get secret cilium-ipsec-keys -n ${NAMESPACE} -o json`
export const GET_PODS = `get pods -n ${NAMESPACE} -l k8s-app=cilium -o json`
export const GET_NODES = 'get ciliumnodes.cilium.io -o json'

export const within = (): AbortSignal => AbortSignal.timeout(60_000)

/** A secret with a key, as the API server gives it. */
export const secretWith = (key: IpsecKey | string, more: Readonly<Record<string, unknown>> = {}): Readonly<Record<string, unknown>> => ({
  apiVersion: 'v1',
  kind: 'Secret',
  type: 'Opaque',
  metadata: { name: PLACE.name, namespace: NAMESPACE, resourceVersion: '4711', labels: { team: 'net' } },
  data: { keys: Buffer.from(typeof key === 'string' ? key : formatKey(key)).toString('base64'), other: 'b3RoZXI=' },
  ...more,
})

/** CiliumNodes that send with these SPIs; 0 for one that does not encrypt. */
export const nodesWith = (spis: Readonly<Record<string, number>>): unknown => ({
  items: Object.entries(spis).map(([name, key]) => ({ metadata: { name }, spec: key === 0 ? {} : { encryption: { key } } })),
})

/** Pods of agents, on the nodes of these names. */
export const agentsOn = (...nodes: string[]): unknown => ({
  items: nodes.map((nodeName) => ({ metadata: { name: `cilium-${nodeName}` }, spec: { nodeName } })),
})

export const ASK_STATUS = 'cilium-dbg encrypt status -o json'

/** The call that asks the agent of a node. */
export const askOn = (node: string): string => `exec -n ${NAMESPACE} cilium-${node} -c cilium-agent -- ${ASK_STATUS}`

/** What an agent's container answers to it. */
export const statusOf = (sequence: number, keys = 2): unknown => ({
  mode: 'IPsec',
  ipsec: { 'decrypt-interfaces': ['eth0'], 'keys-in-use': keys, 'max-seq-number': `0x${sequence.toString(16)}/0xffffffffffffffff` },
})

export const someKey = (spi = 3): IpsecKey => generateKey({ spi })

/** The digits of a key, which must be nowhere. */
export const secretOf = (key: IpsecKey): string => (key.kind === 'aead' ? key.key.hex() : key.auth.key.hex())
