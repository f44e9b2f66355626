import { type AgentPart, agentProblems, describeAgent, type Expectations, nodeOf } from '@cni-offload/adapter-cilium'
import { OffloadError } from '@cni-offload/sdk'
import { type Check, fail, type Finding, ok, warn } from '../check.ts'
import * as findings from './agent-findings.ts'
import { type AgentView, askAgent } from './agent-view.ts'

/** A cilium-agent, and what it has to be. */
export interface AgentSubject {
  /** Begin of the ids of its checks. */
  readonly id: string
  /** Path of its socket. */
  readonly socket: string
  /** What the adapter expects of it. */
  readonly expected: Expectations
}

/** What the adapter itself looks at, and how it is called here. */
const PARTS: readonly {
  readonly part: AgentPart
  readonly id: string
  readonly title: string
  readonly seen: (view: AgentView) => string
}[] = [
  { part: 'cilium', id: 'state', title: 'the agent is in order', seen: ({ health }) => health.cilium?.msg ?? '' },
  {
    part: 'kubernetes',
    id: 'kubernetes',
    title: 'the agent is connected to the API server',
    seen: ({ health }) => health.kubernetes?.msg ?? health.kubernetes?.state ?? '',
  },
  { part: 'datapath', id: 'datapath', title: 'devices of pods are veth', seen: ({ config }) => config.datapathMode ?? 'veth' },
  {
    part: 'chaining',
    id: 'chaining',
    title: 'the agent is not chained to another CNI',
    seen: ({ health }) => health['cni-chaining']?.mode ?? 'none',
  },
  {
    part: 'ipam',
    id: 'ipam',
    title: 'addresses come from where the mode of the adapter needs',
    seen: ({ config }) => config['ipam-mode'] ?? '',
  },
  {
    part: 'families',
    id: 'families',
    title: 'the families are those that are expected',
    seen: ({ config, health }) => Object.keys(describeAgent(config, health).routers).join(', '),
  },
]

/** Looked at only where the adapter makes endpoints over the ports. */
const PORT_PART: (typeof PARTS)[number] = {
  part: 'device',
  id: 'device',
  title: 'endpoints can be made over ports',
  seen: ({ config, health }) => {
    const { version = 'unknown', hostRouting = 'unknown' } = describeAgent(config, health)
    return `${version}, host routing ${hostRouting}`
  },
}

const FINDINGS: readonly { readonly id: string; readonly title: string; readonly find: (view: AgentView) => Finding }[] = [
  { id: 'version', title: 'the release is one that the adapter was made for', find: findings.version },
  { id: 'mtu', title: 'packets of pods fit', find: findings.mtu },
  { id: 'host-routing', title: 'how packets get to endpoints', find: findings.hostRouting },
  { id: 'routing', title: 'how packets get to other nodes', find: findings.routing },
  { id: 'kube-proxy-replacement', title: 'the agent serves all kinds of services', find: findings.kubeProxyReplacement },
  { id: 'socket-lb', title: 'services are translated in packets of pods', find: findings.socketLb },
  { id: 'encryption', title: 'encryption between nodes', find: findings.encryption },
]

/** Whether a cilium-agent answers, and is one that pods of the host can be given to. */
export function agentChecks({ id, socket, expected }: AgentSubject): readonly Check[] {
  const seen: { view?: AgentView } = {}
  const view = (): AgentView => {
    if (seen.view === undefined) throw new OffloadError('INTERNAL', `doctor: ${id}.socket has not been asked`)
    return seen.view
  }
  const after = [`${id}.socket`]
  return [
    {
      id: `${id}.socket`,
      title: 'cilium-agent answers',
      async run(signal) {
        seen.view = await askAgent(socket, signal)
        return ok(socket)
      },
    },
    ...[...PARTS, ...(expected.device === 'port' ? [PORT_PART] : [])].map(({ part, id: name, title, seen: show }): Check => ({
      id: `${id}.${name}`,
      title,
      after,
      run: () => partFinding(view(), expected, part, show),
    })),
    { id: `${id}.node`, title: 'the agent believes to be on the node of the host', after, run: () => nodeFinding(view(), expected) },
    ...FINDINGS.map(({ id: name, title, find }): Check => ({ id: `${id}.${name}`, title, after, run: () => find(view()) })),
  ]
}

function partFinding(view: AgentView, expected: Expectations, part: AgentPart, show: (view: AgentView) => string): Finding {
  const problem = agentProblems(view.config, view.health, expected).find((candidate) => candidate.part === part)
  return problem === undefined ? ok(show(view)) : fail(show(view), problem.error.message, problem.error.hint ?? '')
}

function nodeFinding(view: AgentView, expected: Expectations): Finding {
  const node = nodeOf(view.health)
  if (node === undefined)
    return warn('unknown', 'the agent does not tell its node', 'Look for "Name" in "cilium-dbg node list" on the DPU.')
  if (expected.nodeName === undefined)
    return warn(node, 'nobody says which node it has to be', 'Set "nodeName" of the adapter to the name of the host, or give --node.')
  return partFinding(view, expected, 'node', () => node)
}
