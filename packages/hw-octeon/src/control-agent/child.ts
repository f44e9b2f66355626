import { type RunningChild, startChild } from '@cni-offload/sdk/exec'

/** A control agent that was started. */
export type AgentChild = RunningChild

/**
 * Starts a control agent.
 *
 * @param onLine - called with each line of both its streams
 * @throws the system's error if the program cannot be started: ENOENT, EACCES
 */
export type LaunchAgent = (argv: readonly [string, ...string[]], onLine: (line: string) => void) => Promise<AgentChild>

/** Starts it as a process of this machine. */
export const launchAgent: LaunchAgent = async (argv, onLine) => {
  const env = { PATH: process.env['PATH'] ?? '/usr/sbin:/usr/bin:/sbin:/bin', LC_ALL: 'C' }
  return await startChild({ argv, env }, onLine)
}
