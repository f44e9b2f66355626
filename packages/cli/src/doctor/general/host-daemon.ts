import type { HostConfig } from '@cni-offload/host'
import { OffloadError } from '@cni-offload/sdk'
import { askNode } from '../../inspect/ask.ts'
import type { NodeView } from '../../inspect/view.ts'
import { type Check, fail, type Finding, ok, warn } from '../check.ts'

/** Whether the host daemon runs, and reaches the agent on the DPU. */
export function hostDaemonChecks({ socket, node }: Pick<HostConfig, 'socket' | 'node'>, after: readonly string[]): readonly Check[] {
  const seen: { view?: NodeView } = {}
  const view = (): NodeView => {
    if (seen.view === undefined) throw new OffloadError('INTERNAL', 'doctor: host.daemon has not been asked')
    return seen.view
  }
  return [
    {
      id: 'host.daemon',
      title: 'the host daemon answers and runs',
      after,
      run: async () => {
        seen.view = await askNode(socket)
        return daemonFinding(seen.view, socket, node)
      },
    },
    {
      id: 'host.agent',
      title: 'the agent on the DPU answers the host daemon',
      after: ['host.daemon'],
      run: () => agentFinding(view()),
    },
    {
      id: 'host.vfs',
      title: 'there are VFs, and they are in order',
      after: ['host.daemon'],
      run: () => vfFinding(view()),
    },
  ]
}

function daemonFinding(view: NodeView, socket: string, node: string): Finding {
  const seen = `${view.state} on node ${view.node}, at ${socket}`
  if (view.node !== node)
    return fail(
      seen,
      `the configuration says node ${node}`,
      'Restart the daemon with this configuration, or name the right one with --config.',
    )
  if (view.state === 'RUNNING') return ok(seen)
  return fail(seen, 'only a daemon that is RUNNING serves pods', 'Its log says what it waits for; wait, or start it again.')
}

function agentFinding({ agent, dpu }: NodeView): Finding {
  if ('error' in dpu)
    return fail(
      `${agent.address} is not connected`,
      dpu.error,
      'Does offload-agent run on the DPU, is "agent.address" its "listen", and do host.tls.cert and agent.tls.cert hold?',
    )
  return ok(`${agent.address}, ${dpu.attachments.length} attachments`)
}

function vfFinding({ leases }: NodeView): Finding {
  const sick = leases.filter(({ health }) => health !== 'healthy')
  const free = leases.filter(({ state, health }) => state === 'free' && health === 'healthy')
  const seen = `${leases.length} VFs, ${free.length} free`
  if (leases.length === 0)
    return fail(seen, 'the hardware backend offers none', 'Make VFs of the card (sriov_numvfs), and see the options of "hardware".')
  if (sick.length > 0)
    return warn(
      seen,
      `not healthy: ${sick.map(({ vf, health }) => `${vf} (${health})`).join(', ')}`,
      'See the log of the host daemon, and "offload inspect" for the pods that have them.',
    )
  if (free.length === 0)
    return warn(seen, 'the next pod gets none', 'Make more VFs, or let pods end; "offload inspect" tells who has which.')
  return ok(seen)
}
