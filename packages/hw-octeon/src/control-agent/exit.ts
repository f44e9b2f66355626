import { type AgentFault, type AgentLine, FAULT_HINTS } from './log-line.ts'

/** How the process of a control agent ended. */
export interface AgentProcessEnd {
  /** Exit code; null when a signal ended it. */
  readonly exitCode: number | null
  /** Signal that ended it; null when it exited. */
  readonly exitSignal: string | null
}

/** What is to be done about it. */
export type AgentRemedy =
  /** Nothing: it was told to end. */
  | 'none'
  /** Start it again, soon. */
  | 'retry'
  /** Start it again, but what it waits for takes its time. */
  | 'retry-slowly'
  /** Bind its functions to vfio-pci, then start it again. */
  | 'rebind'
  /** Nothing helps until a person has changed something. */
  | 'give-up'

/** Why a control agent ended. */
export interface AgentExit {
  /** What happened, in words. */
  readonly text: string
  /** What is to be done. */
  readonly remedy: AgentRemedy
  /** What a person can do about it. */
  readonly hint: string
}

/** What a control agent said while it ran, as far as it explains its end. */
export class AgentTrace {
  readonly #faults = new Set<AgentFault>()
  #configError: string | undefined
  #soc: string | undefined

  /** Takes a line. */
  note(line: AgentLine): void {
    if (line.kind === 'fault') this.#faults.add(line.fault)
    else if (line.kind === 'config-error') this.#configError ??= `${line.file}:${line.line}: ${line.text}`
    else if (line.kind === 'soc') this.#soc = line.model
  }

  /** Whether it has complained about that. */
  has(fault: AgentFault): boolean {
    return this.#faults.has(fault)
  }

  /** All that it has complained about. */
  get faults(): readonly AgentFault[] {
    return [...this.#faults]
  }

  /** What it could not read of its configuration. */
  get configError(): string | undefined {
    return this.#configError
  }

  /** Model of the chip; undefined as long as it has not said that it knows it. */
  get soc(): string | undefined {
    return this.#soc
  }
}

/** Exit codes of a shell for what a signal has ended: something stands between the agent and us. */
const SHELL_SIGNALS: ReadonlyMap<number, string> = new Map([
  [129, 'SIGHUP'],
  [134, 'SIGABRT'],
  [139, 'SIGSEGV'],
  [143, 'SIGTERM'],
])

/** Explains the end of a control agent that nobody has asked for. The agent exits with the last byte of a negative error number. */
export function explainAgentExit(end: AgentProcessEnd, trace: AgentTrace): AgentExit {
  const said = trace.faults.map((fault) => FAULT_HINTS[fault])
  const exit = (text: string, remedy: AgentRemedy, ...hints: readonly string[]): AgentExit => ({
    text: trace.faults.length === 0 ? text : `${text}; it complained about: ${trace.faults.join(', ')}`,
    remedy,
    hint: [...said, ...hints][0] ?? 'look at what it has printed last',
  })
  const { exitCode, exitSignal } = end
  if (exitSignal !== null)
    return exit(`it was ended by ${exitSignal}`, 'retry', 'look for who sent it, or for a crash in the log of the kernel')
  switch (exitCode) {
    case 0:
      return exit('it was told to end by somebody else (SIGINT)', 'retry', 'stop it where it is supervised')
    case 234:
      return exit(`it cannot use its configuration${trace.configError === undefined ? '' : `: ${trace.configError}`}`, 'give-up', CFG)
    case 255:
      // The agent has one code for options that it does not know and for a link that it could not set up.
      if (trace.faults.length > 0 && !trace.has('option') && !trace.has('address'))
        return exit('it could not set up the link', 'retry-slowly')
      return exit('it does not know an option of its command line', 'give-up', FAULT_HINTS.option)
    case 237:
      return exit('it could not open a function of the card (ENODEV)', 'rebind', FAULT_HINTS['vfio-open'])
    case 245:
      return exit('the PCI link is not up (EAGAIN)', 'retry-slowly', FAULT_HINTS['pem-unavailable'])
    case 244:
      return exit('it got no memory (ENOMEM)', 'retry-slowly', FAULT_HINTS['mailbox-memory'])
    case 251:
      return exit('the hardware failed (EIO)', 'retry-slowly', 'look at the log of the kernel; reset the card if it goes on')
    case 189:
      return exit('the link is cut (ENOLINK)', 'retry-slowly', FAULT_HINTS['pem-unavailable'])
    case 137:
      return trace.soc === undefined
        ? exit('it does not know this chip (ENAVAIL), or was killed before it said anything', 'give-up', SOC)
        : exit('it was killed (SIGKILL, told by what started it)', 'retry', 'look for who sent it: the kernel does when memory is short')
    default: {
      const signal = SHELL_SIGNALS.get(exitCode ?? -1)
      if (signal !== undefined) return exit(`it was ended by ${signal}`, 'retry')
      return exit(`it ended with exit code ${exitCode ?? 'unknown'}`, 'retry-slowly')
    }
  }
}

const CFG = 'look at the file: offload octeon cfg --check FILE'
const SOC = 'this release of the agent does not support the chip, or this is no OCTEON; configure sdk as the firmware is'
