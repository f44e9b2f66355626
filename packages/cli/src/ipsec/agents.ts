import { type NodeStatus, parseEncryptStatus, readNode } from '@cni-offload/adapter-cilium/ipsec'
import { OffloadError } from '@cni-offload/sdk'
import { Limiter } from '@cni-offload/sdk/runtime'
import { z } from 'zod'
import type { Kubectl } from '../kubectl/kubectl.ts'
import type { Subject } from './subject.ts'

const COMMAND = ['cilium-dbg', 'encrypt', 'status', '-o', 'json']

/** Agents that are asked at the same time: each is a process here and a stream through the API server. */
const AT_ONCE = 8

const pods = z.object({
  items: z.array(
    z.object({
      metadata: z.object({ name: z.string() }),
      spec: z.object({ nodeName: z.string().default('') }).default({ nodeName: '' }),
    }),
  ),
})

/**
 * The nodes whose agents are pods of the cluster, each looked at by `cilium-dbg encrypt status` in the agent's container. An agent that
 * runs on a DPU outside of the cluster is none of them.
 *
 * @throws KubectlError; OffloadError NOT_FOUND if there is no such pod
 */
export async function agentSubjects(kubectl: Kubectl, namespace: string, signal: AbortSignal): Promise<Subject[]> {
  const { items } = await kubectl.json({ args: ['get', 'pods', '-n', namespace, '-l', 'k8s-app=cilium'] }, pods, signal)
  if (items.length === 0)
    throw new OffloadError('NOT_FOUND', `namespace = ${namespace}: no pod of cilium-agent (k8s-app=cilium) is there`, {
      hint: "Name Cilium's namespace with --namespace; for an agent that is no pod of the cluster, use --socket on its DPU.",
    })
  const limiter = new Limiter(AT_ONCE)
  return items.map(({ metadata, spec }) => ({
    name: spec.nodeName === '' ? metadata.name : spec.nodeName,
    read: async (until) =>
      await readNode({
        status: {
          from: `${COMMAND.join(' ')} in ${namespace}/${metadata.name}`,
          read: () => limiter.run(until, () => askAgent(kubectl, namespace, metadata.name, until)),
        },
      }),
  }))
}

async function askAgent(kubectl: Kubectl, namespace: string, pod: string, signal: AbortSignal): Promise<NodeStatus> {
  const { exitCode, stdout, stderr } = await kubectl.exec({ namespace, pod, container: 'cilium-agent' }, COMMAND, signal)
  if (exitCode !== 0) throw new OffloadError('ADAPTER_FAILED', `exit code ${exitCode}: ${stderr.trim() || stdout.trim()}`)
  const printed = parseEncryptStatus(stdout)
  const [status] = printed.scope === 'nodes' ? printed.nodes : []
  if (status === undefined) throw new OffloadError('UNDECODABLE', 'it does not tell of one node')
  return status
}
