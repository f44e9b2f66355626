import type { Machine } from '@cni-offload/linux/machine'
import type { Clock, Logger } from '@cni-offload/sdk'
import type { LaunchAgent } from './child.ts'

/** What an {@link AgentSupervisor} works with. */
export interface SupervisorDeps {
  /** The machine that this process runs on, and so the agent: its processes, and the file that notes the agent. @defaultValue `localMachine()` */
  readonly machine?: Machine
  /** Time. */
  readonly clock: Clock
  /** Log: what the agent prints goes there, too. */
  readonly log: Logger
  /** Starts the agent. @defaultValue {@link launchAgent} */
  readonly launch?: LaunchAgent
  /** Sends a signal to an agent that an earlier supervisor has started. @defaultValue `process.kill` */
  readonly signalProcess?: (pid: number, signal: 'SIGINT' | 'SIGKILL') => void
  /** Binds the functions of the agent to vfio-pci again, where it could not open them. Without it that is only waited for. */
  readonly rebind?: (signal: AbortSignal) => Promise<void>
}

/** What an {@link AgentSupervisor} is to run. */
export interface SupervisorOptions {
  /** The command; `agentCommand` makes it. */
  readonly argv: readonly [string, ...string[]]
  /** Name of the program in it. @defaultValue `octep_cp_agent` */
  readonly program?: string
  /** File that notes the process, for the next supervisor; `agentRecordFile` beside it says how the agent is. */
  readonly pidFile: string
  /** How long the host waits for heartbeats, in milliseconds; `shortestWindowMs` of the configuration. @defaultValue 20 000 */
  readonly windowMs?: number
  /** Number of physical functions in the configuration. @defaultValue 1 */
  readonly functions?: number
}
