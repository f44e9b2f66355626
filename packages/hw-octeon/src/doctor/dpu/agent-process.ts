import { errnoOf, ifPresent, type Machine } from '@cni-offload/linux/machine'
import { AGENT_PROGRAM, parseAgentCommand } from '../../control-agent/command-line.ts'
import type { AgentGeneration } from '../../control-agent/generation.ts'
import { GONE, type ProcessEntry, readProcess } from '../../control-agent/process-table.ts'
import { broken, fine, type OcteonFinding, some, unseen } from '../finding.ts'

const START = 'Let the DPU daemon run it, or a unit of systemd (offload octeon unit), which start it again when it ends.'

/** All control agents of the machine, whatever started them and in whichever namespace. */
export async function findAgents(machine: Machine): Promise<readonly ProcessEntry[]> {
  const pids = (await machine.list('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const found = await Promise.all(
    pids.map(async (pid) => {
      const comm = await ifPresent(machine.read(`/proc/${pid}/comm`), GONE)
      // stdbuf becomes what it starts; a shell that mentions it in its command line is none.
      return comm?.trim() === AGENT_PROGRAM ? await readProcess(machine, pid) : undefined
    }),
  )
  return found.filter((one) => one !== undefined).toSorted((a, b) => a.pid - b.pid)
}

/** Whether one runs, with the functions that fit the firmware. */
export function processFinding(agents: readonly ProcessEntry[], { sdk, options }: AgentGeneration): OcteonFinding {
  const [agent, ...others] = agents
  if (agent === undefined)
    return broken(
      `no process ${AGENT_PROGRAM}`,
      'the host gets no carrier without it, and no VF an address; a unit that started it once may still be active',
      START,
    )
  if (others.length > 0)
    return broken(
      `processes ${agents.map(({ pid }) => pid).join(', ')}`,
      'two of them take the link from each other',
      'End all but one, by SIGINT: only then it tells the host.',
    )
  const seen = `process ${agent.pid}: ${agent.argv.join(' ')}`
  const own = parseAgentCommand(agent.argv)
  if (own === undefined) return broken(seen, 'it has no configuration', START)
  const wanted = parseAgentCommand([AGENT_PROGRAM, own.cfg, '--', ...options])
  // A DMA engine that it does not need does no harm.
  const fits = own.pem === wanted?.pem && own.sdpRvu.join() === wanted?.sdpRvu.join() && own.dpi === (wanted.dpi ?? own.dpi)
  if (fits) return fine(seen)
  return broken(
    seen,
    `the agent of SDK ${sdk}, which fits the firmware, is given ${options.length === 0 ? 'no functions' : options.join(' ')}`,
    'Start it with these; functions move when firmware changes. If it is another release, configure sdk.',
  )
}

/** Whether it has its functions open: one that was started before they were bound has not. */
export async function deviceFinding(
  machine: Machine,
  agents: readonly ProcessEntry[],
  addresses: readonly string[],
): Promise<OcteonFinding> {
  const [agent] = agents
  if (agent === undefined) return unseen('no control agent runs')
  if (addresses.length === 0) return fine('this release opens none')
  const folder = `/proc/${agent.pid}/fd`
  const names = await machine.list(folder).catch((error: unknown) => {
    const errno = errnoOf(error) ?? ''
    // What has ended meanwhile has nothing open.
    if (GONE.includes(errno)) return []
    if (['EACCES', 'EPERM'].includes(errno)) return undefined
    throw error
  })
  if (names === undefined) return unseen(`${folder} cannot be read`, 'Run it as root.')
  const open = new Set(await Promise.all(names.map((name) => ifPresent(machine.readlink(`${folder}/${name}`), GONE))))
  const groups = await Promise.all(
    addresses.map(async (address) => {
      const target = await ifPresent(machine.readlink(`/sys/bus/pci/devices/${address}/iommu_group`))
      return { address, group: target?.slice(target.lastIndexOf('/') + 1) }
    }),
  )
  const closed = groups.filter(({ group }) => !open.has(`/dev/vfio/${group}`) && !open.has(`/dev/vfio/noiommu-${group}`))
  if (closed.length === 0) return fine(groups.map(({ group }) => `/dev/vfio/${group}`).join(', '))
  return broken(
    `process ${agent.pid} has not open: ${some(closed.map(({ address, group }) => `${address} (/dev/vfio/${group})`))}`,
    'it cannot work with them',
    'Bind them to vfio-pci (octeon.dpu.vfio), then start the agent again, by SIGINT.',
  )
}
