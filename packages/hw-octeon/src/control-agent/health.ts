import { basename } from 'node:path'
import { errnoOf, ifPresent, type Machine } from '@cni-offload/linux/machine'
import { AGENT_PROGRAM, parseAgentCommand } from './command-line.ts'
import { FAULT_HINTS, parseAgentLine } from './log-line.ts'
import { type ProcessEntry, readProcess } from './process-table.ts'
import { AgentReadiness } from './readiness.ts'

/** A control agent that somebody else runs. */
export interface AdoptedAgent {
  /** Unit of systemd that runs it, for its process and its log. */
  readonly unit: string
  /** Functions that it has to have open; `vfio` of the generation. */
  readonly vfio: readonly string[]
}

/** Something that was looked at. */
export interface AgentFinding {
  /** What: that there is one, its command, the drivers of its functions, what it has open, what it has said last. */
  readonly check: 'process' | 'command' | 'driver' | 'open' | 'log'
  /** Whether it is as it should be. */
  readonly ok: boolean
  /** What was found. */
  readonly text: string
  /** What to do about it; empty where it is as it should be. */
  readonly hint: string
}

/** What was found of a control agent. */
export interface AgentHealth {
  /** Its process; undefined if there is none, or several. */
  readonly process: ProcessEntry | undefined
  /** All that was looked at. */
  readonly findings: readonly AgentFinding[]
}

const good = (check: AgentFinding['check'], text: string): AgentFinding => ({ check, ok: true, text, hint: '' })
const bad = (check: AgentFinding['check'], text: string, hint: string): AgentFinding => ({ check, ok: false, text, hint })

/**
 * Looks at a control agent that somebody else runs.
 *
 * @param withLog - also at what it has said, which takes a command
 */
export async function agentHealth(machine: Machine, agent: AdoptedAgent, signal: AbortSignal, withLog = true): Promise<AgentHealth> {
  const drivers = await Promise.all(agent.vfio.map((address) => driverFinding(machine, address)))
  const running = await agentProcesses(machine)
  const [process, ...others] = running
  if (process === undefined) {
    const missing = bad('process', 'no control agent runs', `systemctl status ${agent.unit}; journalctl -u ${agent.unit}`)
    return { process: undefined, findings: [missing, ...drivers] }
  }
  if (others.length > 0) {
    const several = `several control agents run: processes ${running.map(({ pid }) => pid).join(', ')}`
    return { process: undefined, findings: [bad('process', several, 'end all but that of the unit: kill -INT'), ...drivers] }
  }
  const findings = [
    good('process', `it runs as process ${process.pid}`),
    commandFinding(process, agent.vfio),
    ...drivers,
    ...(await Promise.all(agent.vfio.map((address) => openFinding(machine, process.pid, address)))),
    ...(withLog ? await logFindings(machine, agent.unit, process.pid, signal) : []),
  ]
  return { process, findings }
}

/** By its name, as the process of a unit may be something else that has started it. */
async function agentProcesses(machine: Machine): Promise<ProcessEntry[]> {
  const pids = (await machine.list('/proc')).filter((name) => /^\d+$/.test(name)).map(Number)
  const all = await Promise.all(pids.map((pid) => readProcess(machine, pid)))
  return all.flatMap((entry) => (entry?.comm === AGENT_PROGRAM ? [entry] : [])).toSorted((a, b) => a.pid - b.pid)
}

function commandFinding({ argv }: ProcessEntry, vfio: readonly string[]): AgentFinding {
  const { pem, dpi, sdpRvu = [] } = parseAgentCommand(argv) ?? {}
  const named = [pem, dpi, ...sdpRvu].filter((address) => address !== undefined)
  const missing = vfio.filter((address) => !named.includes(address))
  if (missing.length === 0) return good('command', argv.join(' '))
  return bad('command', `its command does not name ${missing.join(', ')}: ${argv.join(' ')}`, FAULT_HINTS.address)
}

async function driverFinding(machine: Machine, address: string): Promise<AgentFinding> {
  const link = await ifPresent(machine.readlink(`/sys/bus/pci/devices/${address}/driver`))
  if (link !== undefined && basename(link) === 'vfio-pci') return good('driver', `${address} is bound to vfio-pci`)
  return bad('driver', `${address} ${link === undefined ? 'has no driver' : `is bound to ${basename(link)}`}`, 'offload octeon setup')
}

async function openFinding(machine: Machine, pid: number, address: string): Promise<AgentFinding> {
  const group = await ifPresent(machine.readlink(`/sys/bus/pci/devices/${address}/iommu_group`))
  if (group === undefined) return bad('open', `${address} has no IOMMU group`, FAULT_HINTS['iommu-group'])
  const number = basename(group)
  const open = await openFiles(machine, pid)
  // Without an IOMMU the node has another name.
  if (open.some((file) => file === `/dev/vfio/${number}` || file === `/dev/vfio/noiommu-${number}`))
    return good('open', `it has ${address} open`)
  return bad('open', `it does not have ${address} open (/dev/vfio/${number})`, 'restart it')
}

/** What ends meanwhile has nothing open. */
async function openFiles(machine: Machine, pid: number): Promise<string[]> {
  const folder = `/proc/${pid}/fd`
  const names = (await ifPresent(machine.list(folder), ['ENOENT', 'ESRCH'])) ?? []
  const targets = await Promise.all(names.map((name) => ifPresent(machine.readlink(`${folder}/${name}`), ['ENOENT', 'ESRCH'])))
  return targets.filter((target) => target !== undefined)
}

/** Nothing where there is no log to ask: that proves nothing. */
async function logFindings(machine: Machine, unit: string, pid: number, signal: AbortSignal): Promise<AgentFinding[]> {
  const argv = ['journalctl', `--unit=${unit}`, `_PID=${pid}`, '--output=cat', '--no-pager', '--lines=2000'] as const
  const outcome = await machine.run(argv, signal).catch((error: unknown) => {
    if (errnoOf(error) === 'ENOENT') return undefined
    throw error
  })
  if (outcome?.exitCode !== 0 || !/fw ready|LIB: init/.test(outcome.stdout)) return []
  const readiness = new AgentReadiness(1)
  for (const line of outcome.stdout.split('\n')) readiness.note(parseAgentLine(line))
  if (readiness.ready) return [good('log', 'its firmware is ready')]
  return [bad('log', readiness.reason, readiness.stuck === undefined ? 'wait for the host to boot' : `systemctl restart ${unit}`)]
}
