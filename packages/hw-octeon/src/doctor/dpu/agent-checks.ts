import type { Machine } from '@cni-offload/linux/machine'
import { type Clock, systemClock } from '@cni-offload/sdk'
import { parseAgentCommand } from '../../control-agent/command-line.ts'
import { type AgentGeneration, type AgentSdk, agentDevices, agentGeneration, outOfTreeLoaded } from '../../control-agent/generation.ts'
import type { ProcessEntry } from '../../control-agent/process-table.ts'
import type { DoctorContext } from '../context.ts'
import { fine, type OcteonCheck } from '../finding.ts'
import { configFinding } from './agent-config.ts'
import { journalFinding, logFinding } from './agent-log.ts'
import { deviceFinding, findAgents, processFinding } from './agent-process.ts'
import { turnFinding } from './agent-turns.ts'
import { hugepageFinding } from './hugepages.ts'
import { supervisorFinding } from './supervisor.ts'
import { vfioFinding } from './vfio.ts'

/** What is expected of the control agent. */
export interface AgentExpectations {
  /** Time. @defaultValue that of the machine */
  readonly clock?: Clock | undefined
  /** Its release. @defaultValue the one that fits the firmware */
  readonly sdk?: AgentSdk | 'auto' | undefined
  /** Its configuration. @defaultValue the one that it was started with */
  readonly agentConfig?: string | undefined
  /** What the DPU daemon writes down of an agent that it runs (`agentRecordFile`). @defaultValue somebody else runs it */
  readonly agentRecord?: string | undefined
  /** Unit of systemd that runs it, for its journal. */
  readonly agentUnit?: string | undefined
  /** Where the output of one goes that somebody else runs in another way. @defaultValue the files of Marvell's and Red Hat's set-ups */
  readonly agentLogs?: readonly string[] | undefined
}

const RELEASE = 'octeon.dpu.agent-release'
const AGENT = 'octeon.dpu.agent'

/** Files that the known set-ups let the agent print to. */
const LOGS: readonly string[] = ['/tmp/octep-cp-log.txt', '/tmp/octep-cp-agent.log']

/** Whether the control agent has what it needs, runs, and works. */
export function agentChecks(context: DoctorContext, expected: AgentExpectations, after: string): readonly OcteonCheck[] {
  const { machine } = context
  const generation = async (): Promise<AgentGeneration> =>
    agentGeneration(agentDevices(await context.inventory(), await outOfTreeLoaded(machine)), expected.sdk)
  const agents = async (): Promise<readonly ProcessEntry[]> => await findAgents(machine)
  const configOf = async (): Promise<{ readonly path: string; readonly pid?: number } | undefined> => {
    if (expected.agentConfig !== undefined) return { path: expected.agentConfig }
    const [agent] = await agents()
    const path = agent === undefined ? undefined : parseAgentCommand(agent.argv)?.cfg
    return agent === undefined || path === undefined ? undefined : { path, pid: agent.pid }
  }
  return [
    {
      id: RELEASE,
      title: 'a release of the control agent fits the firmware',
      after: [after],
      run: async () => {
        const { sdk, options, module } = await generation()
        return fine(`SDK ${sdk}${options.length === 0 ? `, module ${module}` : `, ${options.join(' ')}`}`)
      },
    },
    {
      id: 'octeon.dpu.vfio',
      title: 'the functions for the control agent can be opened by it',
      after: [RELEASE],
      run: async () => await vfioFinding(machine, (await generation()).vfio),
    },
    {
      id: 'octeon.dpu.hugepages',
      title: 'there are huge pages for the control agent, and not too many',
      after: [RELEASE],
      run: async () => await hugepageFinding(machine, (await generation()).hugepages, (await agents()).length > 0),
    },
    {
      id: AGENT,
      title: 'one control agent runs, with what the firmware wants',
      after: [RELEASE],
      run: async () => processFinding(await agents(), await generation()),
    },
    {
      id: 'octeon.dpu.agent-devices',
      title: 'the control agent has its functions open',
      after: [AGENT],
      run: async () => await deviceFinding(machine, await agents(), (await generation()).vfio),
    },
    {
      id: 'octeon.dpu.agent-turns',
      title: 'the control agent does not hang',
      after: [AGENT],
      run: async (signal) => await turnFinding(machine, await agents(), expected.clock ?? systemClock, signal),
    },
    expected.agentRecord === undefined ? logCheck(machine, expected) : supervisorCheck(machine, expected.agentRecord),
    {
      id: 'octeon.dpu.agent-config',
      title: 'the configuration of the control agent is right',
      after: [after],
      run: async () => await configFinding(machine, await configOf()),
    },
  ]
}

const logCheck = (machine: Machine, { agentUnit, agentLogs = LOGS }: AgentExpectations): OcteonCheck => ({
  id: 'octeon.dpu.agent-log',
  title: 'the control agent says that the host can use the card',
  after: [AGENT],
  run: async (signal) => {
    const [agent] = await findAgents(machine)
    if (agentUnit !== undefined && agent !== undefined) return await journalFinding(machine, agentUnit, agent.pid, signal)
    return await logFinding(machine, agentLogs)
  },
})

/** That there is no process does not keep it from being run: its record says why. */
const supervisorCheck = (machine: Machine, path: string): OcteonCheck => ({
  id: 'octeon.dpu.agent-supervisor',
  title: 'the DPU daemon keeps the control agent running, and the host can use the card',
  run: async () =>
    await supervisorFinding(
      machine,
      path,
      (await findAgents(machine)).map(({ pid }) => pid),
    ),
})
