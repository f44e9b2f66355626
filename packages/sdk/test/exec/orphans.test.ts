import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { afterEach, describe, expect, it } from 'vitest'
import { endOrphans, PLUGIN_OWNER } from '../../src/exec/index.ts'
import { silentLogger, systemClock } from '../../src/index.ts'

describe('endOrphans', () => {
  const deps = { clock: systemClock, log: silentLogger, signal: AbortSignal.timeout(20_000) }
  const started: { kill(): boolean }[] = []
  afterEach(() => started.splice(0).forEach((child) => child.kill()))

  /** A process with an owner, that has begun. */
  const start = async (owner: string, body: string) => {
    const child = spawn('/bin/sh', ['-c', body], { env: { PATH: '/usr/bin:/bin', [PLUGIN_OWNER]: owner }, stdio: 'pipe' })
    started.push(child)
    await once(child.stdout, 'data')
    return child
  }

  it('ends what the owner has started, with what that has started, and nothing else', async () => {
    const owner = `/state/${process.pid}`
    const mine = await start(owner, 'sleep 600 & echo begun; wait')
    const other = await start(`${owner}-other`, 'echo begun; exec sleep 600')
    const gone = once(mine, 'exit')
    expect(await endOrphans(owner, deps)).toBe(2)
    expect(await gone).toEqual([null, 'SIGKILL'])
    expect(other.exitCode ?? other.signalCode, 'of another daemon').toBeNull()
    expect(await endOrphans(owner, deps)).toBe(0)
  })

  it('does not wait for ever for one that does not end', async () => {
    const owner = `/state/${process.pid}-stuck`
    const { pid } = await start(owner, 'echo begun; exec sleep 600')
    // As one that hangs in the kernel: it is still there when the time is up.
    await expect(endOrphans(owner, { ...deps, limitMs: 0 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: `plugins of an earlier run did not end within 0 ms: processes ${pid}`,
    })
  })
})
