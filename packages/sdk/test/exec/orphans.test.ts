import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFile } from 'node:fs/promises'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { endOrphans, PLUGIN_OWNER } from '../../src/exec/index.ts'
import { silentLogger, systemClock } from '../../src/index.ts'
import { ScriptFolder } from './scripts.ts'

describe('endOrphans', () => {
  const deps = { clock: systemClock, log: silentLogger, signal: AbortSignal.timeout(20_000) }
  const started: ChildProcess[] = []
  let scripts: ScriptFolder
  beforeAll(async () => {
    scripts = await ScriptFolder.create()
  })
  afterAll(() => scripts[Symbol.asyncDispose]())
  afterEach(() => started.splice(0).forEach(endGroup))

  /** A plugin with an owner, that has begun. */
  const start = async (owner: string, body: string) => {
    const path = `${scripts.path}/plugin-${started.length}`
    await scripts.add(`plugin-${started.length}`, body)
    const env = { PATH: '/usr/bin:/bin', CNI_PATH: `/nowhere:${scripts.path}`, [PLUGIN_OWNER]: owner }
    const child = spawn(path, [], { env, stdio: 'pipe', detached: true })
    started.push(child)
    const [first] = (await once(child.stdout, 'data')) as [Buffer]
    return Object.assign(child, { first: first.toString() })
  }

  it('ends what the owner has started, with what that has started, and nothing else', async () => {
    const owner = `/state/${process.pid}`
    const mine = await start(owner, 'sleep 600 & echo begun; wait')
    const other = await start(`${owner}-other`, 'echo begun; sleep 600')
    const gone = once(mine, 'exit')
    expect(await endOrphans(owner, deps)).toBe(2)
    expect(await gone).toEqual([null, 'SIGKILL'])
    expect(other.exitCode ?? other.signalCode, 'of another daemon').toBeNull()
    expect(await endOrphans(owner, deps)).toBe(0)
  })

  it('leaves the daemon that a plugin has started for the pods, whether the plugin still runs or not', async () => {
    const owner = `/state/${process.pid}-daemon`
    const leave = 'setsid sleep 600 >/dev/null 2>&1 </dev/null & echo $!'
    const [running, ended] = [await start(owner, `${leave}; wait`), await start(owner, leave)]
    const daemons = [running, ended].map(({ first }) => Number(first))
    try {
      await expect.poll(() => Promise.all(daemons.map(isSession)), { timeout: 20_000 }).toEqual([true, true])
      expect(await endOrphans(owner, deps)).toBe(1)
      expect(await Promise.all(daemons.map(isSession))).toEqual([true, true])
    } finally {
      for (const pid of daemons) process.kill(pid)
    }
  })

  it('ends a plugin that has become another program', async () => {
    const owner = `/state/${process.pid}-became`
    const child = await start(owner, 'echo begun; exec sleep 600')
    const gone = once(child, 'exit')
    await expect.poll(() => readFile(`/proc/${child.pid}/comm`, 'utf8'), { timeout: 20_000 }).toBe('sleep\n')
    expect(await endOrphans(owner, deps)).toBe(1)
    expect(await gone).toEqual([null, 'SIGKILL'])
  })

  it('ends an IPAM plugin whose plugin is gone, also one in a session of its own', async () => {
    const owner = `/state/${process.pid}-ipam`
    await scripts.add('ipam', 'sleep 600; :')
    const { first } = await start(owner, `setsid ${scripts.path}/ipam </dev/null >/dev/null 2>&1 & echo $!`)
    await expect.poll(() => isSession(Number(first)), { timeout: 20_000 }).toBe(true)
    expect(await endOrphans(owner, deps)).toBeGreaterThan(0)
    expect(await isSession(Number(first))).toBe(false)
  })

  it('does not wait for ever for one that does not end', async () => {
    const owner = `/state/${process.pid}-stuck`
    const { pid } = await start(owner, 'echo begun; read line')
    // As one that hangs in the kernel: it is still there when the time is up.
    await expect(endOrphans(owner, { ...deps, limitMs: 0 })).rejects.toMatchObject({
      code: 'DEADLINE_EXCEEDED',
      message: `plugins of an earlier run did not end within 0 ms: processes ${pid}`,
    })
  })
})

/** Ends a plugin with what it has started. */
function endGroup({ pid }: ChildProcess): void {
  try {
    if (pid !== undefined) process.kill(-pid, 'SIGKILL')
  } catch {
    // ESRCH: all have ended.
  }
}

/** Whether a process is there, and leads a session of its own. */
async function isSession(pid: number): Promise<boolean> {
  const stat = await readFile(`/proc/${pid}/stat`, 'latin1').catch(() => '')
  const [state, , , session] = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  return state !== 'Z' && session === String(pid)
}
