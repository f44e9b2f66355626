import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { silentLogger, systemClock } from '@cni-offload/sdk'
import { afterEach, describe, expect, it } from 'vitest'
import { endOrphans, MARKER } from '../../src/fallback/orphans.ts'

describe('endOrphans', () => {
  const deps = { clock: systemClock, log: silentLogger, signal: AbortSignal.timeout(20_000) }
  const started: { kill(): boolean }[] = []
  afterEach(() => started.splice(0).forEach((child) => child.kill()))

  /** A process with the marker, that has begun. */
  const start = async (marker: string, body: string) => {
    const child = spawn('/bin/sh', ['-c', body], { env: { PATH: '/usr/bin:/bin', [MARKER]: marker }, stdio: 'pipe' })
    started.push(child)
    await once(child.stdout, 'data')
    return child
  }

  it('ends what carries the marker, with what that has started, and nothing else', async () => {
    const marker = `/state/${process.pid}`
    const mine = await start(marker, 'sleep 600 & echo begun; wait')
    const other = await start(`${marker}-other`, 'echo begun; exec sleep 600')
    const gone = once(mine, 'exit')
    expect(await endOrphans(marker, deps)).toBe(2)
    expect(await gone).toEqual([null, 'SIGKILL'])
    expect(other.exitCode ?? other.signalCode, 'of another daemon').toBeNull()
    expect(await endOrphans(marker, deps)).toBe(0)
  })

  it('does not wait for ever for one that does not end', async () => {
    const marker = `/state/${process.pid}-stuck`
    const { pid } = await start(marker, 'echo begun; exec sleep 600')
    // As one that hangs in the kernel: it is still there when the time is up.
    await expect(endOrphans(marker, { ...deps, limitMs: 0 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: `plugins of an earlier run did not end within 0 ms: processes ${pid}`,
    })
  })
})
