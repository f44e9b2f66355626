import { OffloadError } from '@cni-offload/sdk'
import { z } from 'zod'
import type { Kubectl } from '../../kubectl/kubectl.ts'
import { KubectlError } from '../../kubectl/kubectl-error.ts'
import { type Check, fail, type Finding, ok, skipped, warn } from '../check.ts'

/** What is asked of the cluster. */
export interface ClusterSubject {
  /** kubectl. */
  readonly kubectl: Kubectl
  /** Whether somebody has asked for it: then it is a failure that there is no kubectl. */
  readonly asked: boolean
  /** Name of the host's node. */
  readonly node: string
  /** Addresses of this machine. */
  readonly addresses: readonly string[]
}

const addressList = z.array(z.object({ type: z.string(), address: z.string() })).default([])
const kubernetesVersion = z.object({ serverVersion: z.object({ gitVersion: z.string() }) })
const nodeObject = z.object({
  spec: z.object({ taints: z.array(z.object({ key: z.string(), effect: z.string() })).default([]) }).default({ taints: [] }),
  status: z
    .object({
      addresses: addressList,
      conditions: z.array(z.object({ type: z.string(), status: z.string(), reason: z.string().default('') })).default([]),
    })
    .default({ addresses: [], conditions: [] }),
})
const ciliumNode = z.object({
  spec: z.object({ addresses: z.array(z.object({ type: z.string(), ip: z.string() })).default([]) }).default({ addresses: [] }),
})
const podList = z.object({
  items: z.array(
    z.object({ metadata: z.object({ namespace: z.string(), name: z.string() }), status: z.object({ phase: z.string().default('') }) }),
  ),
})

type NodeObject = z.output<typeof nodeObject>

/** Whether the cluster sees the host as an agent on its DPU needs it. */
export function clusterChecks(subject: ClusterSubject): readonly Check[] {
  const { kubectl, node } = subject
  const seen: { node?: NodeObject } = {}
  const known = (): NodeObject => {
    if (seen.node === undefined) throw new OffloadError('INTERNAL', 'doctor: k8s.node has not been asked')
    return seen.node
  }
  return [
    { id: 'k8s.api', title: 'kubectl reaches the cluster', run: async (signal) => await reach(subject, signal) },
    {
      id: 'k8s.node',
      title: `node ${node} is there`,
      after: ['k8s.api'],
      async run(signal) {
        const found = await kubectl.find({ args: ['get', 'node', node] }, nodeObject, signal)
        if (found === undefined)
          return fail(`no node ${node}`, 'nothing is scheduled to it', 'Correct "nodeName" of the adapter (kubectl get nodes).')
        seen.node = found
        return ok(node)
      },
    },
    {
      id: 'k8s.cilium-node',
      title: `Cilium knows node ${node}`,
      after: ['k8s.node'],
      run: async (signal) =>
        ciliumNodeFinding(await kubectl.find({ args: ['get', 'ciliumnodes.cilium.io', node] }, ciliumNode, signal), node),
    },
    {
      id: 'k8s.second-agent',
      title: 'no other cilium-agent runs for the node',
      after: ['k8s.api'],
      async run(signal) {
        const args = ['get', 'pods', '-A', '-l', 'k8s-app=cilium', '--field-selector', `spec.nodeName=${node}`]
        return secondAgentFinding(await kubectl.json({ args }, podList, signal))
      },
    },
    { id: 'k8s.taints', title: 'pods can be scheduled to the node', after: ['k8s.node'], run: () => taintFinding(known(), node) },
    {
      id: 'k8s.node-address',
      title: "the node's address is that of the DPU",
      after: ['k8s.node'],
      run: () => addressFinding(known(), subject),
    },
  ]
}

async function reach({ kubectl, asked }: ClusterSubject, signal: AbortSignal): Promise<Finding> {
  try {
    const { serverVersion } = await kubectl.json({ args: ['version'] }, kubernetesVersion, signal)
    return ok(`Kubernetes ${serverVersion.gitVersion}`)
  } catch (error) {
    if (asked || !(error instanceof KubectlError) || !['missing', 'config', 'unreachable'].includes(error.kind)) throw error
    return skipped(error.message, 'Give --kubectl, --kubeconfig or --context to have the cluster looked at, too.')
  }
}

function ciliumNodeFinding(found: z.output<typeof ciliumNode> | undefined, node: string): Finding {
  if (found !== undefined) return ok(found.spec.addresses.map(({ type, ip }) => `${type} ${ip}`).join(', '))
  return fail(
    `no CiliumNode ${node}`,
    'no agent has ever run for this node: it gets no pod addresses, and other nodes no way to it',
    `Start the agent on the DPU with K8S_NODE_NAME=${node}, and see in its log why it cannot make it.`,
  )
}

function secondAgentFinding({ items }: z.output<typeof podList>): Finding {
  const live = items.filter(({ status }) => !['Succeeded', 'Failed'].includes(status.phase))
  if (live.length === 0) return ok('none')
  return fail(
    live.map(({ metadata, status }) => `${metadata.namespace}/${metadata.name} (${status.phase})`).join(', '),
    'two agents for one node take endpoints and addresses from each other',
    'Keep the DaemonSet of Cilium off hosts with a DPU by an anti-affinity (Helm value affinity.nodeAffinity), then delete the pod.',
  )
}

function taintFinding({ spec, status }: NodeObject, node: string): Finding {
  const taint = spec.taints.find(({ key }) => key.startsWith('node.cilium.io/') || key === 'node.kubernetes.io/network-unavailable')
  if (taint !== undefined)
    return fail(
      `${taint.key}:${taint.effect}`,
      "Cilium's operator finds no agent pod on the node, and so never takes the taint away",
      `Set operator.setNodeTaints=false and operator.removeNodeTaints=false, then: kubectl taint node ${node} ${taint.key}-`,
    )
  const condition = status.conditions.find(({ type }) => type === 'NetworkUnavailable')
  if (condition?.status === 'True')
    return fail(
      `NetworkUnavailable (${condition.reason})`,
      'the node gets a taint for it',
      'Find out who has set it: the cloud provider has to make a route, or Cilium has to set it to False (operator.setNodeNetworkStatus).',
    )
  return ok('no taint of the network')
}

function addressFinding({ status }: NodeObject, { addresses }: ClusterSubject): Finding {
  const internal = status.addresses.filter(({ type }) => type === 'InternalIP').map(({ address }) => address)
  const seen = internal.join(', ')
  if (internal.length === 0)
    return fail('no InternalIP', 'Cilium takes it for the end of tunnels and of IPsec', 'Set --node-ip of the kubelet.')
  if (internal.every((address) => addresses.includes(address))) return ok(seen)
  return warn(
    seen,
    'it is not an address of this machine: packets to it for tunnels (UDP 8472, 6081) and IPsec (ESP) would end on the host',
    "Steer them to the DPU, or give the kubelet an address of the DPU (--node-ip). See the guide's section on deployment.",
  )
}
