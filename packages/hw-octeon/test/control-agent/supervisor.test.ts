import type { Machine } from '@cni-offload/linux/machine'
import { silentLogger } from '@cni-offload/sdk'
import { describe, expect, it, vi } from 'vitest'
import { type AgentEvent, type AgentProcessEnd, AgentSupervisor, readAgentRecord, type SupervisorDeps } from '../../src/index.ts'
import { ManualClock } from '../clock.ts'

const READY = 'CNXK: pem[0] pf[0] fw ready 1 addr 0xfffe44c18418'
const UNREADY = 'CNXK: pem[0] pf[0] fw ready 0 addr 0x0'
const PID_FILE = '/run/agent.pid'
const RECORD_FILE = '/run/octep_cp_agent.json'
const EPOCH = '1970-01-01T00:00:'

/** Where no other process is. Agents have the numbers 100, 101, … . */
function emptyMachine(): { readonly machine: Machine; readonly files: Map<string, string> } {
  const files = new Map<string, string>()
  const absent = (path: string): never => {
    throw Object.assign(new Error(`ENOENT: ${path}`), { code: 'ENOENT' })
  }
  const pid = (path: string): string | undefined => /^\/proc\/(1\d\d)\//.exec(path)?.[1]
  const machine: Machine = {
    read: async (path) => {
      if (path.endsWith('/stat') && pid(path) !== undefined) return `${pid(path)} (octep_cp_agent) S ${'0 '.repeat(18)}4711 0`
      if (path.endsWith('/cmdline') && pid(path) !== undefined) return 'octep_cp_agent\0'
      return files.get(path) ?? absent(path)
    },
    write: async (path) => absent(path),
    readlink: async (path) => (path === '/proc/self/ns/net' ? 'net:[1]' : absent(path)),
    list: async () => ['self'],
    place: async (path, text) => void files.set(path, text),
    remove: async (path) => void files.delete(path),
    run: async ([program]) => absent(program),
  }
  return { machine, files }
}

interface Agent {
  readonly say: (...lines: string[]) => void
  readonly end: (end: Partial<AgentProcessEnd>) => void
  readonly signals: string[]
}

/** A supervisor of agents that do what the test says. */
function supervised(more: Partial<SupervisorDeps> = {}, windowMs = 20_000) {
  const clock = new ManualClock()
  const agents: Agent[] = []
  const stop = new AbortController()
  const { machine, files } = emptyMachine()
  const deps: SupervisorDeps = {
    machine,
    clock,
    log: silentLogger,
    launch: async (_argv, say) => {
      const { promise, resolve } = Promise.withResolvers<AgentProcessEnd>()
      const signals: string[] = []
      const end = (how: Partial<AgentProcessEnd>): void => resolve({ exitCode: null, exitSignal: null, ...how })
      agents.push({ say: (...lines) => lines.forEach(say), end, signals })
      return { pid: 99 + agents.length, ended: promise, kill: (signal) => void signals.push(signal) }
    },
    ...more,
  }
  const supervisor = AgentSupervisor.start(deps, { argv: ['/bin/octep_cp_agent', '/run/c.cfg'], pidFile: PID_FILE, windowMs }, stop.signal)
  const events: AgentEvent[] = []
  const listening = (async () => {
    for await (const event of supervisor.events(new AbortController().signal)) events.push(event)
  })()
  const agent = (count: number): Promise<Agent> =>
    vi.waitFor(() => {
      expect(agents).toHaveLength(count)
      // It is noted by then, and watched.
      expect(files.get(PID_FILE)).toContain(`"pid":${99 + count}`)
      return agents[count - 1] as Agent
    })
  const kinds = (...wanted: AgentEvent['kind'][]): Promise<void> => vi.waitFor(() => expect(events.map(({ kind }) => kind)).toEqual(wanted))
  const pauses = (...wanted: number[]): Promise<void> => vi.waitFor(() => expect(clock.pauses).toEqual(wanted))
  const record = (wanted: unknown): Promise<void> =>
    vi.waitFor(async () => expect(await readAgentRecord(machine, RECORD_FILE)).toEqual(wanted))
  return { supervisor, clock, agent, agents, events, kinds, pauses, stop, files, listening, record }
}

const forever = (): AbortSignal => new AbortController().signal

describe('AgentSupervisor', () => {
  it('is ready when the firmware is, and stops the agent by the signal by which it tells the host', async () => {
    const { supervisor, agent, kinds, stop, files, listening } = supervised()
    const only = await agent(1)
    only.say('APP: config init : /run/c.cfg', 'SOC: Model: cn10ka_a0')
    await kinds()
    only.say(READY)
    await supervisor.ready(forever())
    await kinds('ready')
    expect(JSON.parse(files.get(PID_FILE) ?? '')).toEqual({ pid: 100, started: '4711' })
    stop.abort()
    await vi.waitFor(() => expect(only.signals).toEqual(['SIGINT']))
    only.say('APP: Program quitting.', UNREADY)
    only.end({ exitCode: 0 })
    await listening
    await kinds('ready')
    await vi.waitFor(() => expect(files.has(PID_FILE)).toBe(false))
  })

  it('kills an agent that does not end in time', async () => {
    const { supervisor, agent, clock, pauses } = supervised()
    const only = await agent(1)
    only.say(READY)
    await pauses()
    const disposed = supervisor[Symbol.asyncDispose]()
    await pauses(5_000)
    expect(only.signals).toEqual(['SIGINT'])
    clock.advance(5_000)
    await vi.waitFor(() => expect(only.signals).toEqual(['SIGINT', 'SIGKILL']))
    only.end({ exitSignal: 'SIGKILL' })
    await disposed
  })

  it.each(['EAGAIN', 'ENOMEM', 'EMFILE'])('tries again to start it while the machine has not what that takes: %s', async (code) => {
    const refusals = [1, 2, 3]
    const { promise: ended, resolve } = Promise.withResolvers<AgentProcessEnd>()
    let say = (_line: string): void => {}
    const launch: SupervisorDeps['launch'] = async (_argv, onLine) => {
      if (refusals.shift() !== undefined) throw Object.assign(new Error(`spawn /bin/octep_cp_agent ${code}`), { code })
      say = onLine
      return { pid: 100, ended, kill: () => resolve({ exitCode: 0, exitSignal: null }) }
    }
    const { supervisor, clock, pauses, record, kinds, stop, listening } = supervised({ launch })
    await pauses(250)
    const why = `the control agent /bin/octep_cp_agent cannot be started: spawn /bin/octep_cp_agent ${code}`
    await record(expect.objectContaining({ state: 'waiting', reasons: [why], failures: 1, retryAt: `${EPOCH}00.250Z` }))
    clock.advance(250)
    await pauses(500)
    clock.advance(500)
    await pauses(1_000)
    await record(expect.objectContaining({ failures: 3, hint: expect.stringContaining('ulimit') as unknown }))
    clock.advance(1_000)
    await vi.waitFor(() => expect(supervisor.pid).toBe(100))
    await record({ state: 'waiting', since: `${EPOCH}00.000Z`, reasons: [why], failures: 3, hint: expect.any(String) as unknown })
    say(READY)
    await supervisor.ready(forever())
    await kinds('ready')
    stop.abort()
    await listening
  })

  it('kills an agent whose loop stands still, without asking it first, and starts another', async () => {
    const { agent, clock, kinds, events, pauses, stop, files, record } = supervised()
    const turns = (count: number): unknown => files.set('/proc/100/status', `Name:\tx\nvoluntary_ctxt_switches:\t${count}\n`)
    const second = async (): Promise<void> => {
      await pauses(1_000)
      clock.advance(1_000)
    }
    turns(0)
    const hanging = await agent(1)
    hanging.say(READY)
    for (let count = 1; count <= 10; count += 1) {
      await second()
      turns(count * 1_000)
    }
    await second()
    expect(hanging.signals).toEqual([])
    for (let count = 1; count <= 5; count += 1) await second()
    await vi.waitFor(() => expect(hanging.signals).toEqual(['SIGKILL']))
    hanging.end({ exitSignal: 'SIGKILL' })
    await pauses(250)
    const reasons = ['the control agent is gone: it hangs: its loop has stood still for 5 s']
    await record(expect.objectContaining({ state: 'waiting', reasons }))
    expect(events.at(-1)).toEqual({ kind: 'lost', reason: reasons[0] })
    clock.advance(250)
    const next = await agent(2)
    next.say(READY)
    await kinds('ready', 'lost', 'back')
    stop.abort()
    next.end({ exitCode: 0 })
  })

  it('leaves the time that it needs to an agent that is not ready', async () => {
    const { agent, clock, pauses, stop, files } = supervised()
    files.set('/proc/100/status', 'voluntary_ctxt_switches:\t1\n')
    const only = await agent(1)
    only.say(READY)
    await pauses(1_000)
    only.say(UNREADY)
    await pauses(15_000)
    clock.advance(14_000)
    expect(only.signals).toEqual([])
    stop.abort()
    only.end({ exitCode: 0 })
  })

  it('waits for one of an earlier run that hangs in the kernel', async () => {
    const { machine, files } = emptyMachine()
    const left = new Set(['150'])
    const read = async (path: string): Promise<string> => {
      if (!path.startsWith('/proc/150/')) return await machine.read(path)
      if (!left.has('150')) throw Object.assign(new Error(path), { code: 'ENOENT' })
      return path.endsWith('/cmdline') ? 'octep_cp_agent\0/run/c.cfg\0' : await machine.read(path)
    }
    const busy: Machine = { ...machine, read, list: async () => [...left], readlink: async () => 'net:[1]' }
    const signals: string[] = []
    const { clock, pauses, supervisor } = supervised({
      machine: busy,
      signalProcess: (pid, signal) => void signals.push(`${pid} ${signal}`),
    })
    for (const count of [1, 2]) {
      await vi.waitFor(() => expect(signals).toHaveLength(count))
      await pauses(50)
      clock.advance(5_000)
    }
    await pauses(250)
    expect(signals).toEqual(['150 SIGINT', '150 SIGKILL'])
    const why = expect.stringMatching(/^an earlier control agent is still there: .*process 150, does not end/) as unknown
    expect(JSON.parse(files.get(RECORD_FILE) ?? '{}')).toMatchObject({ state: 'waiting', reasons: [why], failures: 1 })
    left.clear()
    clock.advance(250)
    await vi.waitFor(() => expect(supervisor.pid).toBe(100))
    void supervisor[Symbol.asyncDispose]()
  })

  it('waits for the end of one that does not end when it is killed, and starts no other beside it', async () => {
    const { agent, agents, clock, pauses, files, record, kinds, stop } = supervised()
    const stuck = await agent(1)
    stuck.say(READY, UNREADY)
    await pauses(15_000)
    clock.advance(15_000)
    for (const signal of ['SIGINT', 'SIGKILL']) {
      await vi.waitFor(() => expect(stuck.signals).toContain(signal))
      await pauses(5_000)
      clock.advance(5_000)
    }
    const reasons = [
      'its firmware is not ready',
      expect.stringContaining('for 15 s') as unknown,
      'the control agent does not end when it is killed',
    ]
    await record(expect.objectContaining({ state: 'waiting', reasons, hint: expect.stringContaining('reboot the card') as unknown }))
    clock.advance(3_600_000)
    await pauses()
    expect([agents.length, files.has(PID_FILE)]).toEqual([1, true])
    stuck.end({ exitSignal: 'SIGKILL' })
    await pauses(250)
    expect(files.has(PID_FILE)).toBe(false)
    clock.advance(250)
    const next = await agent(2)
    next.say(READY)
    await kinds('ready', 'lost', 'back')
    stop.abort()
    next.end({ exitCode: 0 })
  })

  it('gives up on one that does not end when it is killed, and leaves the note of it for the next supervisor', async () => {
    const { supervisor, agent, clock, pauses, files } = supervised()
    await agent(1)
    const disposed = supervisor[Symbol.asyncDispose]()
    for (const _ of ['SIGINT', 'SIGKILL']) {
      await pauses(5_000)
      clock.advance(5_000)
    }
    await disposed
    expect(files.has(PID_FILE)).toBe(true)
  })

  it('writes down how the agent is, and what had happened before it was well again', async () => {
    const { agent, clock, pauses, stop, record, files, listening } = supervised()
    const starting = { state: 'waiting', since: `${EPOCH}00.000Z`, reasons: ['it is being started'], failures: 0 }
    await record(starting)
    const first = await agent(1)
    first.say(READY)
    await record({ state: 'ready', since: `${EPOCH}00.000Z`, pid: 100 })
    clock.advance(1_000)
    const zombie = ['LIB: Got PERST', UNREADY, 'APP: Reinitiazing PEM 0', 'APP: Unable to handle perst event on PEM 0!']
    first.say(...zombie)
    await vi.waitFor(() => expect(first.signals).toEqual(['SIGINT']))
    first.end({ exitCode: 0 })
    await pauses(250)
    const stuck = 'the control agent is gone: it could not set up PCI link 0 again after the host was reset, and goes on without heartbeats'
    const gone = { state: 'waiting', since: `${EPOCH}01.000Z`, reasons: ['the host is being reset', stuck], failures: 1 }
    await record({ ...gone, retryAt: `${EPOCH}01.250Z`, hint: expect.stringContaining('started again') as unknown })
    clock.advance(250)
    const second = await agent(2)
    second.say(READY)
    const before = { reasons: gone.reasons, at: `${EPOCH}01.250Z`, ms: 250 }
    await record({ state: 'ready', since: `${EPOCH}01.250Z`, pid: 101, before })
    stop.abort()
    second.end({ exitCode: 0 })
    await listening
    // Nobody runs it any more, and nobody says that he does.
    await vi.waitFor(() => expect(files.has(RECORD_FILE)).toBe(false))
  })

  it('starts a crashed agent again, later each time, but always before the host misses its heartbeats', async () => {
    const { agent, clock, kinds, pauses, stop, agents, events } = supervised()
    for (const [index, pause] of [250, 500, 1000, 2000, 4000, 5000, 5000].entries()) {
      const next = await agent(index + 1)
      next.say(READY)
      next.end({ exitSignal: 'SIGSEGV' })
      await pauses(pause)
      clock.advance(pause - 1)
      expect(agents).toHaveLength(index + 1)
      clock.advance(1)
    }
    await agent(8)
    await kinds('ready', ...Array.from({ length: 6 }, () => ['lost', 'back'] as const).flat(), 'lost')
    expect(events[1]).toEqual({ kind: 'lost', reason: 'the control agent is gone: it was ended by SIGSEGV' })
    expect(events[2]).toEqual({ kind: 'back', pid: 101, afterMs: 250 })
    stop.abort()
    agents.at(-1)?.end({ exitCode: 0 })
  })

  it('has forgotten earlier crashes once an agent has lasted', async () => {
    const { agent, clock, pauses, stop, agents } = supervised()
    for (const [count, lasted, pause] of [
      [1, 0, 250],
      [2, 59_999, 500],
      [3, 60_000, 250],
      [4, 0, 500],
    ] as const) {
      const next = await agent(count)
      next.say(READY)
      await pauses()
      clock.advance(lasted)
      next.end({ exitSignal: 'SIGKILL' })
      await pauses(pause)
      clock.advance(pause)
    }
    await agent(5)
    stop.abort()
    agents.at(-1)?.end({ exitCode: 0 })
  })

  it('does not pause longer where the host is less patient', async () => {
    const { agent, clock, pauses, stop, agents } = supervised({}, 12_000)
    for (const [index, pause] of [250, 500, 1000, 1000].entries()) {
      ;(await agent(index + 1)).end({ exitSignal: 'SIGSEGV' })
      await pauses(pause)
      clock.advance(pause)
    }
    await agent(5)
    stop.abort()
    agents.at(-1)?.end({ exitCode: 0 })
  })

  it('waits for a host that is off as long as it takes, without giving up', async () => {
    const { supervisor, agent, clock, kinds, pauses } = supervised()
    for (let count = 1; count <= 20; count += 1) {
      const next = await agent(count)
      next.say('CNXK: pem[0] unavailable')
      next.end({ exitCode: 245 })
      await pauses(5_000)
      clock.advance(5_000)
    }
    const last = await agent(21)
    last.say(READY)
    await supervisor.ready(forever())
    await kinds('ready')
    last.end({ exitCode: 0 })
    await supervisor[Symbol.asyncDispose]()
  })

  it('survives a reset of the host with the same agent', async () => {
    const { agent, clock, kinds, events, stop, agents, pauses } = supervised()
    const only = await agent(1)
    only.say(READY)
    await kinds('ready')
    only.say('LIB: Got PERST', 'APP: Event: perst on dom[0]', UNREADY, 'APP: Reinitiazing PEM 0')
    await kinds('ready', 'lost')
    clock.advance(9_000)
    only.say(READY)
    await kinds('ready', 'lost', 'back')
    expect(events.slice(1)).toEqual([
      { kind: 'lost', reason: 'the host is being reset' },
      { kind: 'back', pid: 100, afterMs: 9_000 },
    ])
    await pauses()
    clock.advance(60_000)
    expect([agents.length, only.signals]).toEqual([1, []])
    stop.abort()
    only.end({ exitCode: 0 })
  })

  it('replaces an agent that hangs after a reset of the host', async () => {
    const { agent, clock, kinds, events, pauses, stop } = supervised()
    const zombie = await agent(1)
    zombie.say(READY, 'APP: Event: perst on dom[0]', UNREADY, 'APP: Reinitiazing PEM 0', 'APP: Unable to handle perst event on PEM 0!')
    await vi.waitFor(() => expect(zombie.signals).toEqual(['SIGINT']))
    zombie.end({ exitCode: 0 })
    await pauses(250)
    clock.advance(250)
    const next = await agent(2)
    next.say(READY)
    await kinds('ready', 'lost', 'back')
    expect(events[2]).toMatchObject({ pid: 101 })
    stop.abort()
    next.end({ exitCode: 0 })
  })

  it.each([
    ['never gets ready', [] as string[]],
    ['says nothing after a reset, its complaint being held back in a buffer', [READY, UNREADY]],
  ])('replaces an agent that %s', async (_, lines) => {
    const { agent, clock, pauses, stop } = supervised()
    const silent = await agent(1)
    silent.say(...lines)
    await pauses(15_000)
    clock.advance(14_999)
    expect(silent.signals).toEqual([])
    clock.advance(1)
    await vi.waitFor(() => expect(silent.signals).toEqual(['SIGINT']))
    silent.end({ exitCode: 0 })
    await pauses(250)
    clock.advance(250)
    const next = await agent(2)
    stop.abort()
    next.end({ exitCode: 0 })
  })

  it.each([
    [234, ['APP: /run/c.cfg:3 - syntax error'], 'it cannot use its configuration: /run/c.cfg:3: syntax error', /--check/],
    [255, ['CNXK: Invalid option.'], 'it does not know an option of its command line; it complained about: option', /sdk/],
    [137, [], 'it does not know this chip (ENAVAIL), or was killed before it said anything', /chip/],
  ])('gives up after exit code %i', async (exitCode, lines, text, hint) => {
    const { supervisor, agent, agents, events, listening, files, record } = supervised()
    const only = await agent(1)
    only.say(...lines)
    only.end({ exitCode })
    const refusal = expect.objectContaining({
      code: 'INVALID_CONFIG',
      message: `the control agent is of no use: ${text}`,
      hint: expect.stringMatching(hint) as string,
    }) as unknown
    await expect(supervisor.ready(forever())).rejects.toEqual(refusal)
    await listening
    expect(events).toEqual([{ kind: 'given-up', failure: refusal }])
    // Whoever comes later hears it, too.
    for await (const event of supervisor.events(forever())) expect(event.kind).toBe('given-up')
    expect([agents.length, files.has(PID_FILE)]).toEqual([1, false])
    const reasons = [`the control agent is gone: ${text}`, `the control agent is of no use: ${text}`]
    await record({ state: 'given-up', since: `${EPOCH}00.000Z`, reasons, hint: expect.stringMatching(hint) as unknown })
  })

  it('binds the functions to vfio-pci where the agent could not open them, then starts it again', async () => {
    const rebind = vi.fn(async () => {})
    const { agent, clock, pauses, stop } = supervised({ rebind })
    ;(await agent(1)).end({ exitCode: 237 })
    await pauses(250)
    expect(rebind).toHaveBeenCalledTimes(1)
    rebind.mockRejectedValueOnce(new Error('busy'))
    clock.advance(250)
    ;(await agent(2)).end({ exitCode: 237 })
    await pauses(5_000)
    expect(rebind).toHaveBeenCalledTimes(2)
    clock.advance(5_000)
    const last = await agent(3)
    stop.abort()
    last.end({ exitCode: 0 })
  })

  it('is not ready before all functions of the configuration are', async () => {
    const clock = new ManualClock()
    const { machine } = emptyMachine()
    let say = (_line: string): void => {}
    const ended = Promise.withResolvers<AgentProcessEnd>()
    const deps: SupervisorDeps = {
      machine,
      clock,
      log: silentLogger,
      launch: async (_argv, onLine) => {
        say = onLine
        return { pid: 100, ended: ended.promise, kill: () => ended.resolve({ exitCode: 0, exitSignal: null }) }
      },
    }
    const options = { argv: ['/bin/octep_cp_agent', '/run/c.cfg'] as [string, string], pidFile: PID_FILE, functions: 2 }
    await using supervisor = AgentSupervisor.start(deps, options, forever())
    const kinds: string[] = []
    void (async () => {
      for await (const { kind } of supervisor.events(forever())) kinds.push(kind)
    })()
    await vi.waitFor(() => expect(supervisor.pid).toBe(100))
    say(READY)
    await vi.waitFor(() => expect(clock.pauses).toEqual([15_000]))
    expect(kinds).toEqual([])
    say('CNXK: pem[0] pf[1] fw ready 1 addr 0x1')
    await vi.waitFor(() => expect(kinds).toEqual(['ready']))
  })
})
