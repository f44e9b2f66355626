import type { AgentRemedy } from './exit.ts'

/** Shortest pause before a restart: what ends at once shall not keep a processor busy. */
const FIRST_MS = 250

/** Longest pause before a restart, where the host's patience allows it. */
const LONGEST_MS = 5_000

/** What the agent needs from its start until the host may use it: it waits up to 10 s for the link. */
export const AGENT_START_MS = 10_000

/** Pause where something else has to happen first. The agent itself waits 10 s more each time. */
const SLOW_MS = 5_000

/**
 * Pause before the control agent is started again, in milliseconds: doubled with each failure, but so short that it is back before the
 * host misses its heartbeats, if the host is that patient at all.
 *
 * @param failures - starts in a row that came to nothing or did not last, at least 1
 * @param windowMs - how long the host waits for heartbeats
 */
export function restartPause(remedy: AgentRemedy, failures: number, windowMs: number): number {
  if (remedy === 'retry-slowly') return SLOW_MS
  const longest = Math.max(FIRST_MS, Math.min(LONGEST_MS, (windowMs - AGENT_START_MS) / 2))
  return Math.min(longest, FIRST_MS * 2 ** Math.min(failures - 1, 16))
}
