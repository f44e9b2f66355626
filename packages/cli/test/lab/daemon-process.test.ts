import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { stopDaemon } from '../../src/lab/daemon-process.ts'

const CONFIG = '/nowhere/host.yaml'

describe('stopDaemon', () => {
  const started: ChildProcess[] = []
  afterEach(() => started.splice(0).forEach((child) => child.kill('SIGKILL')))

  /** A process that is started with arguments, and has begun. */
  const start = async (body: string, ...args: string[]): Promise<number> => {
    const child = spawn(process.execPath, ['-e', `${body}; console.log('begun'); setInterval(() => {}, 1000)`, ...args], { stdio: 'pipe' })
    started.push(child)
    await once(child.stdout, 'data')
    return child.pid!
  }
  /** Whether a process still has files, sockets and locks. */
  const holds = async (pid: number): Promise<boolean> =>
    !['', 'Z'].includes((await readFile(`/proc/${pid}/stat`, 'utf8').catch(() => '')).split(') ')[1]?.[0] ?? '')

  test('comes back when the process has let go of everything, not when it only has no command line any more', async () => {
    // The kernel gives memory back first, which takes a while where there is much of it.
    const pid = await start('globalThis.much = Buffer.alloc(512 << 20, 1)', CONFIG)
    await stopDaemon(pid, CONFIG, 'SIGKILL')
    expect(await holds(pid)).toBe(false)
  })

  test('waits for one that somebody else has just killed', async () => {
    const pid = await start('globalThis.much = Buffer.alloc(512 << 20, 1)', CONFIG)
    process.kill(pid, 'SIGKILL')
    await stopDaemon(pid, CONFIG)
    expect(await holds(pid)).toBe(false)
  })

  test('leaves a process alone that has the pid by now', async () => {
    const pid = await start('', '/elsewhere/host.yaml')
    await stopDaemon(pid, CONFIG, 'SIGKILL')
    expect(await holds(pid)).toBe(true)
  })

  test('one that is gone is success', async () => {
    const pid = await start('', CONFIG)
    const gone = once(started[0]!, 'exit')
    await stopDaemon(pid, CONFIG)
    await gone
    await stopDaemon(pid, CONFIG)
    await stopDaemon(null, CONFIG)
  })
})
