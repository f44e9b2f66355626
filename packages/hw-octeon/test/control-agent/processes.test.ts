import { copyFile, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { localMachine } from '@cni-offload/linux/machine'
import { type Clock, silentLogger, systemClock } from '@cni-offload/sdk'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { type AgentChild, type AgentEvent, agentCommand, AgentSupervisor, launchAgent, type SupervisorDeps } from '../../src/index.ts'
import { readProcess } from '../../src/control-agent/process-table.ts'

const FAKE = fileURLToPath(new URL('./fake-agent.mjs', import.meta.url))

const forever = (): AbortSignal => new AbortController().signal
const running = async (pid: number): Promise<boolean> => (await readProcess(localMachine(), pid)) !== undefined

describe('AgentSupervisor of processes', { timeout: 120_000 }, () => {
  let folder = ''
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'octep-'))
    await copyFile(FAKE, join(folder, 'octep_cp_agent'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  const mode = (text: string): Promise<void> => writeFile(join(folder, 'mode'), text)
  const argv = (cfg = 'c.cfg'): [string, ...string[]] => {
    return [
      process.execPath,
      ...agentCommand({
        generation: { options: ['--pem_dev', `${folder}`] },
        cfg: join(folder, cfg),
        binary: join(folder, 'octep_cp_agent'),
      }),
    ]
  }
  const start = (deps: Partial<SupervisorDeps> = {}, signal = forever()): AgentSupervisor =>
    AgentSupervisor.start(
      { clock: systemClock, log: silentLogger, ...deps },
      { argv: argv(), pidFile: join(folder, 'run', 'agent.json') },
      signal,
    )
  /** An agent that somebody has started who is gone; it can be told to end by now. */
  const leftBehind = async (cfg?: string): Promise<AgentChild> => {
    const { promise, resolve } = Promise.withResolvers<void>()
    const child = await launchAgent(argv(cfg), (line) => void (line.includes('fw ready 1') && resolve()))
    await promise
    return child
  }
  const next = async (events: AsyncIterator<AgentEvent>): Promise<AgentEvent | undefined> =>
    (await events.next()).value as AgentEvent | undefined
  const iterate = (supervisor: AgentSupervisor): AsyncIterator<AgentEvent> => supervisor.events(forever())[Symbol.asyncIterator]()

  it('starts one, and ends it by SIGINT', async () => {
    const supervisor = start()
    await supervisor.ready(forever())
    const pid = supervisor.pid ?? 0
    expect(await running(pid)).toBe(true)
    expect(JSON.parse(await readFile(join(folder, 'run', 'agent.json'), 'utf8'))).toMatchObject({ pid })
    await supervisor[Symbol.asyncDispose]()
    expect(await running(pid)).toBe(false)
    await expect(readFile(join(folder, 'run', 'agent.json'))).rejects.toThrow('ENOENT')
  })

  it.each(['SIGKILL', 'SIGTERM', 'SIGINT', 'SIGUSR2'] as const)('starts it again after %s of somebody else', async (signal) => {
    await using supervisor = start()
    const events = iterate(supervisor)
    expect(await next(events)).toMatchObject({ kind: 'ready' })
    const first = supervisor.pid ?? 0
    process.kill(first, signal)
    expect(await next(events)).toMatchObject({ kind: 'lost' })
    const back = await next(events)
    expect(back).toMatchObject({ kind: 'back', pid: supervisor.pid })
    expect(await running(first)).toBe(false)
    expect(supervisor.pid).not.toBe(first)
  })

  it('gives up on a configuration that it does not take', async () => {
    await mode('badcfg')
    await using supervisor = start()
    await expect(supervisor.ready(forever())).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: `the control agent is of no use: it cannot use its configuration: ${join(folder, 'c.cfg')}:3: syntax error`,
    })
  })

  it('has the functions bound where it could not open them', async () => {
    await mode('vfio')
    await using supervisor = start({ rebind: () => mode('ok') })
    await supervisor.ready(forever())
  })

  it('waits for a host that is down', async () => {
    await mode('hostdown')
    let pauses = 0
    const clock: Clock = {
      ...systemClock,
      sleep: async (ms, signal) => {
        if (ms !== 5_000) return await systemClock.sleep(ms, signal)
        pauses += 1
        if (pauses === 2) await mode('ok')
      },
    }
    await using supervisor = start({ clock })
    await supervisor.ready(forever())
    expect(pauses).toBe(2)
  })

  it('says so where there is no such program', async () => {
    const options = { argv: [join(folder, 'nothing'), '/c.cfg'] as [string, string], pidFile: join(folder, 'agent.json') }
    await using supervisor = AgentSupervisor.start({ clock: systemClock, log: silentLogger }, options, forever())
    await expect(supervisor.ready(forever())).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: `the control agent ${join(folder, 'nothing')} cannot be started: ENOENT`,
    })
  })

  it.each([
    ['noted', true],
    ['not noted', false],
  ])('ends the agent of a supervisor that was killed, which is %s', async (_, noted) => {
    // The configuration of which may have another name now.
    const left = await leftBehind(noted ? 'old.cfg' : 'c.cfg')
    if (noted) {
      const entry = await readProcess(localMachine(), left.pid)
      await localMachine().place(join(folder, 'run', 'agent.json'), JSON.stringify({ pid: left.pid, started: entry?.started }))
    }
    await using supervisor = start()
    await supervisor.ready(forever())
    expect([supervisor.pid === left.pid, await running(left.pid)]).toEqual([false, false])
    // It was asked to, and not killed at once.
    expect(await left.ended).toEqual({ exitCode: 0, exitSignal: null })
  })

  it('kills an agent of an earlier run that does not end', async () => {
    await mode('stubborn')
    const left = await leftBehind()
    await mode('ok')
    const clock: Clock = { ...systemClock, monotonic: () => systemClock.monotonic() * 20 }
    await using supervisor = start({ clock })
    await supervisor.ready(forever())
    expect(await left.ended).toEqual({ exitCode: null, exitSignal: 'SIGKILL' })
  })

  it('does not take another process with the noted number for the agent', async () => {
    await localMachine().place(join(folder, 'run', 'agent.json'), JSON.stringify({ pid: process.pid, started: '1' }))
    await using supervisor = start({
      signalProcess: (pid) => {
        throw new Error(`${pid} was signalled`)
      },
    })
    await supervisor.ready(forever())
  })
})
