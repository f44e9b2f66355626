import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { nodeEnvironment } from '@cni-offload/sdk/exec'
import type { AgentGeneration } from './arguments.ts'
import type { AgentMode } from './fake-agent.ts'

/** How the agent is that is put somewhere; what is left out it takes from its environment, `FAKE_OCTEP_*`, at each start. */
export interface FakeOctepCpAgentOptions {
  /** Socket under which the card is served. Without one, it runs for itself. */
  readonly card?: string
  /** Generation. @defaultValue 'gen3' */
  readonly generation?: AgentGeneration
  /** What goes wrong. @defaultValue 'ok' */
  readonly mode?: AgentMode
}

/**
 * Puts an `octep_cp_agent` into a folder: a program with the real one's arguments, streams, exit codes and signals. It tells the card that
 * {@link serveFakeOcteonCard} serves what the real one tells the host.
 *
 * @returns path of the executable
 */
export async function installFakeOctepCpAgent(folder: string, options: FakeOctepCpAgentOptions = {}): Promise<string> {
  const path = join(folder, 'octep_cp_agent')
  const main = fileURLToPath(import.meta.resolve('@cni-offload/testing/octeon/agent'))
  const settings = {
    FAKE_OCTEP_CARD: options.card,
    FAKE_OCTEP_GENERATION: options.generation,
    FAKE_OCTEP_MODE: options.mode,
    ...nodeEnvironment(),
  }
  const exported = Object.entries(settings).flatMap(([name, value]) => (value === undefined ? [] : [`export ${name}=${quoted(value)}\n`]))
  // As a program that knows nothing of it, it dies of SIGUSR1.
  const command = [process.execPath, '--disable-warning=ExperimentalWarning', '--disable-sigusr1', main].map(quoted).join(' ')
  await mkdir(folder, { recursive: true })
  await writeFile(path, `#!/bin/sh\n${exported.join('')}export FAKE_OCTEP_ARGV0="$0"\nexec ${command} "$@"\n`)
  await chmod(path, 0o755)
  return path
}

const quoted = (word: string): string => `'${word.replaceAll("'", `'\\''`)}'`
