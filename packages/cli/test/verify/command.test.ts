import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { fileURLToPath } from 'node:url'
import { describe, expect, it } from 'vitest'
import { FakeGalaxy, LAWFUL } from './fake-galaxy.ts'

const MAIN = fileURLToPath(import.meta.resolve('@cni-offload/cli/main'))

/** Starts the command as a user does. */
function start(galaxy: FakeGalaxy, ...args: readonly string[]) {
  const child = spawn(process.execPath, [MAIN, 'verify', 'starwars', '--kubectl', galaxy.kubectl.executable, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  return { child, stdout: text(child.stdout), stderr: text(child.stderr), exit: once(child, 'exit') as Promise<[number | null]> }
}

describe('the command verify starwars', { timeout: 240_000 }, () => {
  it('removes the demo when it is interrupted', async () => {
    await using galaxy = await FakeGalaxy.start()
    galaxy.kubectl.expect(({ args }) => args[0] === 'exec', 'hang')
    const { child, stderr, exit } = start(galaxy.serve())
    await galaxy.kubectl.untilHanging(AbortSignal.timeout(120_000))
    child.kill('SIGINT')
    expect(await exit).toEqual([1, null])
    expect(await stderr).toContain('offload: interrupted by SIGINT')
    expect(galaxy.there).toBe(false)
    expect(galaxy.kubectl.hanging).toBe(0)
  })

  it('ends with a failure, and says what, as JSON too', async () => {
    await using galaxy = await FakeGalaxy.start((call) => LAWFUL(call.method === 'PUT' ? { ...call, policy: 'L4' } : call))
    const { stdout, exit } = start(galaxy.serve(), '--settle-timeout', '1', '--json')
    expect(await exit).toEqual([1, null])
    const report = JSON.parse(await stdout) as { ok: boolean; checks: { id: string; ok: boolean }[] }
    expect(report.ok).toBe(false)
    expect(report.checks.filter(({ ok }) => !ok).map(({ id }) => id)).toEqual(['exhaust-port-denied'])
  })
})
