import { OffloadError } from '@cni-offload/sdk'
import { runChild } from '@cni-offload/sdk/exec'
import { deadline } from '@cni-offload/sdk/runtime'

/** Longest that a command which makes traffic may take, milliseconds. */
const TIMEOUT_MS = 300_000

/** Runs a command that makes traffic, without a shell. @throws OffloadError CHECK_FAILED when it fails, or cannot be run */
export async function runTraffic(argv: readonly [string, ...string[]], signal: AbortSignal): Promise<void> {
  const env = Object.fromEntries(Object.entries(process.env).flatMap(([name, value]) => (value === undefined ? [] : [[name, value]])))
  const what = `traffic by "${argv.join(' ')}"`
  try {
    const { exitCode, exitSignal, stderr } = await runChild({ argv, env, stdin: '' }, deadline(signal, TIMEOUT_MS))
    if (exitCode === 0) return
    const end = exitCode === null ? `it was killed by ${exitSignal}` : `exit code ${exitCode}`
    throw new OffloadError('CHECK_FAILED', `${what}: ${end}${stderr.trim() === '' ? '' : `: ${stderr.trim()}`}`, {
      hint: 'Without traffic between nodes it cannot be shown that it is encrypted.',
    })
  } catch (error) {
    throw OffloadError.from(error, 'CHECK_FAILED', what)
  }
}
