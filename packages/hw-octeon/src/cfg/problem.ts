import type { TextPosition } from './libconfig-value.ts'

/** Something that is wrong with a configuration of the control agent. */
export interface AgentConfigProblem {
  /** `error`: the agent would refuse it, or do something else than what it says. `warning`: it works, and is hardly what is wanted. */
  readonly severity: 'error' | 'warning'
  /** Where in the file. */
  readonly at: TextPosition
  /** What it is about: `soc.pems[0].pfs[0].vfs[3].mac_addr`; empty if the text is not even in the format of libconfig. */
  readonly path: string
  /** What is wrong, why, and what to write instead. */
  readonly message: string
}

/** A problem in one line, as compilers write theirs. */
export function problemText(file: string, { severity, at, path, message }: AgentConfigProblem): string {
  return `${file}:${at.line}:${at.column}: ${severity}: ${path === '' ? '' : `${path}: `}${message}`
}
