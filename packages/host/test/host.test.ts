import { rm } from 'node:fs/promises'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import type { LinuxNet } from '@cni-offload/linux'
import { type HostDevice, type LogFields, type Logger, OffloadError, silentLogger } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { FakeAgent } from './support/fake-agent.ts'
import { eventually, HostLab } from './support/lab.ts'

/** Collects records, with the fields of the loggers that they came through. */
function recorder(): { log: Logger; records: (LogFields & { message: string })[] } {
  const records: (LogFields & { message: string })[] = []
  const make = (bound: LogFields): Logger => {
    const write = (fields: LogFields, message: string): void => void records.push({ ...bound, ...fields, message })
    return { debug: write, info: write, warn: write, error: write, child: (fields) => make({ ...bound, ...fields }) }
  }
  return { log: make({}), records }
}

const alter = (file: string, sql: string): void => {
  const db = new DatabaseSync(file)
  db.exec(sql)
  db.close()
}

describe.skipIf(process.getuid?.() !== 0)('the host daemon (needs root: makes network namespaces and links)', () => {
  it('goes through its states, once', async () => {
    const { log, records } = recorder()
    await using lab = await HostLab.start({ log })
    expect(lab.host.state).toBe('RUNNING')
    await expect(lab.host.run(new AbortController().signal)).rejects.toMatchObject({ code: 'INTERNAL' })
    expect(lab.host.state, 'the running one is not harmed').toBe('RUNNING')
    await lab.stopHost()
    expect(records.filter(({ message }) => message === 'host state').map(({ to }) => to)).toEqual([
      'STARTING',
      'RUNNING',
      'DRAINING',
      'STOPPED',
    ])
  })

  it('stops without a fuss when it is told so while it starts', async () => {
    await using lab = await HostLab.make({
      device: (device) => ({
        ...methodsOf(device),
        discover: async () => (
          queueMicrotask(() => void lab.stopHost()),
          device.discover({ signal: new AbortController().signal, log: silentLogger })
        ),
      }),
    })
    await lab.startHost().catch(() => {})
    await lab.stopHost()
    expect(lab.host.state).toBe('STOPPED')
  })

  it('says why it cannot start', async () => {
    await using lab = await HostLab.make({
      device: (device) => ({ ...methodsOf(device), discover: () => Promise.reject(new OffloadError('HARDWARE_FAILURE', 'no card')) }),
    })
    await expect(lab.startHost()).rejects.toMatchObject({ code: 'HARDWARE_FAILURE' })
    expect(lab.host.state).toBe('STOPPED')
    await lab.stopHost().catch(() => {})
  })

  it.each([
    ['stateDir', 'JOURNAL_FAILURE', 'another host daemon runs on it'],
    ['socket', 'INVALID_CONFIG', 'another process listens on it'],
  ])('is refused on the %s of a running one before it touches anything', async (what, code, text) => {
    const agent = new FakeAgent()
    const reached = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    let moved = false
    const net = (real: LinuxNet): LinuxNet =>
      new Proxy(real, {
        get(target, name: keyof LinuxNet) {
          if (name !== 'apply') return (target[name] as (...args: unknown[]) => unknown).bind(target)
          return async (...args: Parameters<LinuxNet['apply']>) => {
            await target.apply(...args)
            moved ||= args[1].some(({ op }) => op === 'link.move')
          }
        },
      })
    agent.afterAttach = () => {
      reached.resolve()
      return go.promise
    }
    await using lab = await HostLab.start({ agent, net })
    await using pod = await lab.pod()
    const add = lab.call('ADD', pod)
    await reached.promise
    await eventually(() => moved, 'the VF is in the pod')
    const other = join(lab.dir, 'other')
    const rival = lab.daemon(what === 'stateDir' ? { socket: `${other}.sock` } : { stateDir: other })
    await expect(rival.run(new AbortController().signal)).rejects.toMatchObject({ code, message: expect.stringContaining(text) })
    expect(rival.state).toBe('STOPPED')
    expect(await lab.net.link(pod.path, 'eth0'), 'the half-made attachment is not harmed').toBeDefined()
    go.resolve()
    expect((await add).output).toContain('"ips"')
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
    expect(await lab.remains()).toEqual([])
  })

  it('finishes a running ADD before it stops', async () => {
    const agent = new FakeAgent()
    const reached = Promise.withResolvers<void>()
    const go = Promise.withResolvers<void>()
    agent.afterAttach = () => {
      reached.resolve()
      return go.promise
    }
    await using lab = await HostLab.start({ agent })
    await using pod = await lab.pod()
    const add = lab.call('ADD', pod)
    await reached.promise
    const stopped = lab.stopHost()
    await eventually(() => lab.host.state === 'DRAINING', 'it drains')
    go.resolve()
    expect((await add).exitCode).toBe(0)
    await stopped
    expect(await lab.net.link(pod.path, 'eth0'), 'the pod keeps its network').toMatchObject({ up: true })
  })

  it('aborts and undoes an ADD that does not end in time, and leaves it to the next daemon', async () => {
    const agent = new FakeAgent()
    const reached = Promise.withResolvers<void>()
    agent.before = (method, { signal }) =>
      method === 'attach'
        ? (reached.resolve(), new Promise((_resolve, reject) => signal.addEventListener('abort', () => reject(signal.reason as Error))))
        : undefined
    await using lab = await HostLab.start({ agent, limits: { drainMs: 20 } })
    await using pod = await lab.pod()
    const add = lab.call('ADD', pod)
    await reached.promise
    const unanswered = expect(add).rejects.toThrow('bad reply of 0 bytes')
    await lab.stopHost()
    await unanswered
    agent.before = () => {}
    await lab.startHost()
    expect(await lab.remains()).toEqual([])
    expect((await lab.call('ADD', pod)).exitCode).toBe(0)
  })

  it('keeps attachments over a restart, and tells a new agent about them', async () => {
    await using lab = await HostLab.start()
    await using pod = await lab.pod()
    const { output } = await lab.call('ADD', pod)
    const before = await lab.net.link(pod.path, 'eth0')
    await lab.stopHost()
    lab.agent.attachments.clear()
    await lab.startHost()
    await eventually(() => lab.agent.attachments.size === 1, 'the agent knows the attachment again')
    expect(await lab.net.link(pod.path, 'eth0')).toMatchObject({ index: before?.index, up: true })
    expect((await lab.call('CHECK', pod, { netconf: { prevResult: JSON.parse(output) } })).output).toBe('')
    expect((await lab.call('DEL', pod)).exitCode).toBe(0)
    expect(await lab.remains()).toEqual([])
  })

  it.each(['leased', 'attached', 'detaching'])('undoes an attachment that a crash left %s', async (phase) => {
    await using lab = await HostLab.start({ vfs: 1 })
    await using pod = await lab.pod()
    await lab.call('ADD', pod)
    await lab.stopHost()
    alter(lab.journal, `UPDATE attachments SET phase = '${phase}'`)
    lab.agent.become('unreachable')
    await lab.startHost()
    expect(await lab.net.link(pod.path, 'eth0'), 'out of the pod at once').toBeUndefined()
    expect((await lab.inspect()).leases).toMatchObject([{ state: 'quarantined' }])
    lab.agent.become('ready')
    await eventually(async () => (await lab.remains()).length === 0, 'the agent has confirmed')
  })

  it('undoes all attachments of before a reboot', async () => {
    await using lab = await HostLab.start({ vfs: 1 })
    const pod = await lab.pod()
    await lab.call('ADD', pod)
    await lab.stopHost()
    await pod[Symbol.asyncDispose]()
    alter(lab.journal, "UPDATE attachments SET boot_id = 'another', netns_identity = '4:1'")
    await lab.startHost()
    await eventually(async () => (await lab.remains()).length === 0, 'nothing is left of the former boot')
  })

  it('reclaims the VFs of a journal that was lost, and uses none that does not come back', async () => {
    let stuck: number | undefined
    const device = (real: HostDevice): HostDevice => ({
      ...methodsOf(real),
      release: (vf, from, ctx) =>
        vf.index === stuck ? Promise.reject(new OffloadError('HARDWARE_FAILURE', 'stuck')) : real.release(vf, from, ctx),
    })
    await using lab = await HostLab.start({ vfs: 2, device })
    await using one = await lab.pod('one')
    await using two = await lab.pod('two')
    for (const pod of [one, two]) expect((await lab.call('ADD', pod)).exitCode).toBe(0)
    await lab.stopHost()
    await rm(join(lab.dir, 'state'), { recursive: true })
    stuck = 1
    await lab.startHost()
    expect((await lab.inspect()).leases).toMatchObject([
      { state: 'free', health: 'healthy' },
      { state: 'free', health: 'unhealthy' },
    ])
    await eventually(() => lab.agent.attachments.size === 0, 'the agent takes them for strays')
    expect(await lab.net.link(lab.hostNetns.path, 'soft0v0')).toMatchObject({ up: false })
    stuck = undefined
    await lab.stopHost()
    await lab.startHost()
    expect(await lab.remains()).toEqual([])
  })

  it('leases no VF that the hardware calls unhealthy, until it recovers', async () => {
    const events: ((event: 'lost' | 'back' | 'sick') => void)[] = []
    const device = (real: HostDevice): HostDevice => ({
      ...methodsOf(real),
      async *watch(signal) {
        while (!signal.aborted) {
          const event = await new Promise<string>((resolve) => {
            events.push(resolve)
            signal.addEventListener('abort', () => resolve('end'), { once: true })
          })
          if (event === 'sick') yield { kind: 'vf-health', vf: { device: 'soft0', index: 0 }, health: 'unhealthy', reason: 'heat' }
          if (event === 'lost') yield { kind: 'device-lost', device: 'soft0', reason: 'pulled' }
          if (event === 'back') yield { kind: 'device-back', device: 'soft0' }
        }
      },
    })
    await using lab = await HostLab.start({ device })
    const health = async (): Promise<string> => (await lab.inspect()).leases.map((vf) => vf.health).join()
    const tell = async (event: 'lost' | 'back' | 'sick', expected: string): Promise<void> => {
      await eventually(() => events.length > 0, 'it listens')
      events.pop()!(event)
      await eventually(async () => (await health()) === expected, event)
    }
    await tell('sick', 'unhealthy,healthy')
    await tell('lost', 'unhealthy,unhealthy')
    await using pod = await lab.pod()
    expect(JSON.parse((await lab.call('ADD', pod)).output)).toMatchObject({ code: 11, msg: expect.stringContaining('2 unhealthy') })
    await tell('back', 'healthy,healthy')
    expect((await lab.call('ADD', pod)).exitCode).toBe(0)
  })

  it('measures what it does', async () => {
    await using lab = await HostLab.start({ vfs: 2 })
    await using pod = await lab.pod()
    await lab.call('ADD', pod)
    await lab.call('ADD', pod)
    const port = await lab.host.metricsListening
    const get = (path: string): Promise<Response> => fetch(`http://127.0.0.1:${port}${path}`)
    const text = await (await get('/metrics')).text()
    for (const line of [
      'cni_offload_host_request_seconds_count{verb="ADD",code="OK"} 1',
      'cni_offload_host_request_seconds_count{verb="ADD",code="ALREADY_EXISTS"} 1',
      'cni_offload_host_vfs{state="free"} 1',
      'cni_offload_host_vfs{state="leased"} 1',
      'cni_offload_host_detach_queue 0',
      'cni_offload_host_agent_connected 1',
    ])
      expect(text).toContain(line)
    for (const stage of ['precheck', 'lease', 'acquire', 'move', 'attach', 'wire'])
      expect(text).toContain(`cni_offload_host_stage_seconds_count{verb="ADD",stage="${stage}"} `)
    expect([(await get('/healthz')).status, await (await get('/healthz')).text()]).toEqual([200, 'RUNNING, agent connected\n'])
    expect((await get('/etc/passwd')).status).toBe(404)
    expect((await fetch(`http://127.0.0.1:${port}/metrics`, { method: 'POST' })).status).toBe(405)
    await lab.call('DEL', pod)
  })

  it('says whose request each record belongs to', async () => {
    const { log, records } = recorder()
    await using lab = await HostLab.start({ log })
    await using pod = await lab.pod()
    lab.agent.before = (method) => {
      if (method === 'attach') throw new OffloadError('ADAPTER_FAILED', 'broken')
    }
    await lab.call('ADD', pod)
    const [undoing] = records.filter(({ message }) => message === 'ADD failed, undoing it')
    expect(undoing).toMatchObject({
      component: 'host.server',
      node: lab.node,
      key: `podnet/${pod.containerId}/eth0`,
      code: 'ADAPTER_FAILED',
      vf: 'soft0/0',
    })
    const [done] = records.filter(({ message }) => message === 'request')
    expect(done).toMatchObject({ requestId: undoing?.['requestId'], verb: 'ADD', code: 'ADAPTER_FAILED' })
  })
})

/** A device's methods, bound, as an object that can be spread. */
function methodsOf(device: HostDevice): HostDevice {
  return {
    name: device.name,
    specVersion: device.specVersion,
    discover: (ctx) => device.discover(ctx),
    acquire: (vf, want, ctx) => device.acquire(vf, want, ctx),
    release: (vf, from, ctx) => device.release(vf, from, ctx),
    watch: (signal) => device.watch(signal),
    [Symbol.asyncDispose]: async () => device[Symbol.asyncDispose]?.(),
  }
}
