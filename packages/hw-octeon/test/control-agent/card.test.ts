import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { localMachine, type Machine } from '@cni-offload/linux/machine'
import { type Clock, silentLogger, systemClock } from '@cni-offload/sdk'
import { type AgentMode, FakeOcteonCard, installFakeOctepCpAgent, serveFakeOcteonCard } from '@cni-offload/testing/octeon'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import {
  type AdoptedAgent,
  agentCommand,
  agentDevices,
  type AgentEvent,
  agentGeneration,
  agentHealth,
  AgentSupervisor,
  formatAgentConfig,
  generateAgentConfig,
  readInventory,
  watchAgent,
} from '../../src/index.ts'

/** Looks often; measured time stays as it is. */
const hasty: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(Math.min(ms, 50), signal) }

const forever = (): AbortSignal => new AbortController().signal
const DPI = '0000:06:00.0'

describe('the control agent of a card', { timeout: 120_000 }, () => {
  let folder = ''
  const config = generateAgentConfig({ node: 'worker-1', vfs: 8 })
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'octep-'))
    await writeFile(join(folder, 'cn106xx.cfg'), formatAgentConfig(config))
  })
  afterEach(() => rm(folder, { recursive: true }))

  /** A card without an agent, and one that the backend can run for it. */
  async function bench(mode: AgentMode = 'ok', clock: Clock = systemClock) {
    await using stack = new AsyncDisposableStack()
    const card = stack.use(await FakeOcteonCard.create({ agent: 'none' }))
    const socket = join(folder, 'card.sock')
    stack.use(await serveFakeOcteonCard(card, socket))
    const binary = await installFakeOctepCpAgent(folder, { card: socket, mode })
    const generation = agentGeneration(agentDevices(await readInventory(card.dpu)))
    const argv = agentCommand({ generation, cfg: join(folder, 'cn106xx.cfg'), binary })
    const deps = { machine: localMachine(), clock, log: silentLogger }
    const options = { argv, pidFile: join(folder, 'agent.json') }
    const supervisor = stack.use(AgentSupervisor.start(deps, options, forever()))
    const owned = stack.move()
    return {
      card,
      supervisor,
      adopted: { unit: 'octep.service', generation },
      [Symbol.asyncDispose]: () => owned.disposeAsync(),
    }
  }
  const reader = <E>(events: AsyncIterable<E>): (() => Promise<E | undefined>) => {
    const iterator = events[Symbol.asyncIterator]()
    return async () => (await iterator.next()).value as E | undefined
  }

  it('gives the host what the configuration says, and survives a reset of the host', async () => {
    await using made = await bench()
    const { card, supervisor } = made
    await supervisor.ready(forever())
    const next = reader(supervisor.events(forever()))
    await card.host.run(['modprobe', 'octeon_ep'], forever())
    await card.host.write('/sys/bus/pci/drivers_probe', '0000:01:00.0')
    expect(await card.host.read('/sys/bus/pci/devices/0000:01:00.0/net/enp1s0/address')).toBe(`${config.pems[0]?.pfs[0]?.mac}\n`)
    card.perst()
    expect(await next()).toMatchObject({ kind: 'lost' })
    expect(await next()).toMatchObject({ kind: 'back', pid: supervisor.pid })
  })

  it('is started again when it is killed, which whoever only watches it sees, too', async () => {
    await using made = await bench()
    const { card, supervisor, adopted } = made
    await supervisor.ready(forever())
    const next = reader(supervisor.events(forever()))
    const watched = reader<AgentEvent>(watchAgent({ machine: card.dpu, clock: hasty, log: silentLogger }, adopted, forever()))
    const first = supervisor.pid ?? 0
    expect(await watched()).toEqual({ kind: 'ready', pid: first })
    process.kill(first, 'SIGKILL')
    expect(await next()).toEqual({ kind: 'lost', reason: 'the control agent is gone: it was ended by SIGKILL' })
    expect(await watched()).toMatchObject({ kind: 'lost' })
    expect(await next()).toMatchObject({ kind: 'back', pid: supervisor.pid })
    expect(await watched()).toMatchObject({ kind: 'back', pid: supervisor.pid })
    expect(supervisor.pid).not.toBe(first)
  })

  it('is started again whenever it hangs, also when the host has missed its heartbeats once and does not look for them any more', async () => {
    const impatient = generateAgentConfig({ node: 'worker-1', vfs: 8, heartbeat: { intervalMs: 1_000, missCount: 1 } })
    await writeFile(join(folder, 'cn106xx.cfg'), formatAgentConfig(impatient))
    // Two and a half times as fast: a hang is noticed after two seconds, when the host has missed a heartbeat.
    const clock: Clock = {
      ...systemClock,
      monotonic: () => systemClock.monotonic() * 2.5,
      sleep: (ms, signal) => systemClock.sleep(ms / 2.5, signal),
    }
    await using made = await bench('ok', clock)
    const { card, supervisor } = made
    await supervisor.ready(forever())
    await card.host.run(['modprobe', 'octeon_ep'], forever())
    await card.host.write('/sys/bus/pci/drivers_probe', '0000:01:00.0')
    const missed = async (): Promise<number> =>
      (await card.host.run(['dmesg'], forever())).stdout.match(/Missed 1 heartbeats/g)?.length ?? 0
    const next = reader(supervisor.events(forever()))
    for (const _time of ['first', 'second']) {
      const hanging = supervisor.pid ?? 0
      process.kill(hanging, 'SIGSTOP')
      expect(await next()).toEqual({ kind: 'lost', reason: 'the control agent is gone: it hangs: its loop has stood still for 5 s' })
      expect(await next()).toMatchObject({ kind: 'back', pid: supervisor.pid })
      expect(supervisor.pid).not.toBe(hanging)
      expect(await missed()).toBe(1)
    }
  })

  it('that somebody else runs is lost when it hangs, and back when it goes on', async () => {
    await using card = await FakeOcteonCard.create({ agent: 'none' })
    const generation = agentGeneration(agentDevices(await readInventory(card.dpu)))
    let turns = 0
    const argv = ['octep_cp_agent', '/c.cfg', '--', ...generation.options]
    using session = card.startAgent({ pid: 2_000_000_001, argv, startTicks: 1, turns: () => turns })
    for (const address of generation.vfio) session.open(address)
    let at = 0
    const stop = new AbortController()
    const sleep = async (ms: number): Promise<void> => {
      at += ms
      if (at > 60_000) stop.abort()
    }
    const clock: Clock = { now: () => at, monotonic: () => at, sleep }
    const next = reader<AgentEvent>(
      watchAgent({ machine: card.dpu, clock, log: silentLogger }, { unit: 'cp.service', generation }, stop.signal),
    )
    expect(await next()).toMatchObject({ kind: 'ready' })
    expect(await next()).toEqual({
      kind: 'lost',
      reason:
        'process 2000000001: it hangs: its loop has stood still for 5 s: systemctl kill --signal=SIGKILL cp.service, which starts it again',
    })
    expect(at).toBe(5_000)
    turns += 1_000
    expect(await next()).toMatchObject({ kind: 'back' })
  })

  it('is healthy where all is as it should be, and else says what is not', async () => {
    await using made = await bench()
    const { card, supervisor, adopted } = made
    const wrong = async (machine: Machine = card.dpu, agent: AdoptedAgent = adopted): Promise<string[]> =>
      (await agentHealth(machine, agent, forever())).findings
        .filter(({ state }) => state === 'fail')
        .map(({ check, seen, why }) => `${check}: ${seen}: ${why}`)
    await supervisor.ready(forever())
    expect(await wrong()).toEqual([])
    expect((await agentHealth(card.dpu, adopted, forever())).process?.pid).toBe(supervisor.pid)

    const { generation } = adopted
    const more = { ...generation, options: [...generation.options, '--dpi_dev', DPI], vfio: [...generation.vfio, DPI] }
    expect(await wrong(card.dpu, { ...adopted, generation: more })).toEqual([
      expect.stringMatching(
        /^process: process .*: the agent of SDK 12\.25\.03, which fits the firmware, is given .* --dpi_dev 0000:06:00\.0$/,
      ),
      'driver: 0000:06:00.0 has octeontx2-dpi: the control agent opens them through vfio-pci',
      expect.stringMatching(/^open: process \d+ has not open: 0000:06:00\.0 /),
    ])
    const logged = (stdout: string): Machine => ({
      read: (path) => card.dpu.read(path),
      write: (path, text) => card.dpu.write(path, text),
      readlink: (path) => card.dpu.readlink(path),
      list: (path) => card.dpu.list(path),
      place: (path, text, mode) => card.dpu.place(path, text, mode),
      remove: (path) => card.dpu.remove(path),
      run: async () => ({ exitCode: 0, exitSignal: null, stdout, stderr: '' }),
    })
    const ready = 'LIB: init\nCNXK: pem[0] pf[0] fw ready 1 addr 0x1\n'
    expect(await wrong(logged(ready))).toEqual([])
    expect(await wrong(logged('LIB: init\n'))).toEqual(['log: journal of octep.service: its firmware is not ready'])
    expect(await wrong(logged('-- No entries --\n'))).toEqual([])
    expect(await wrong(logged(`${ready}LIB: Got PERST\nCNXK: pem[0] pf[0] fw ready 0 addr 0x0\n`))).toEqual([
      'log: journal of octep.service: the host is being reset',
    ])
    expect(await wrong(logged(`${ready}APP: Unable to handle perst event on PEM 0!\n`))).toEqual([
      'log: journal of octep.service: it could not set up PCI link 0 again after the host was reset, and goes on without heartbeats',
    ])
    await supervisor[Symbol.asyncDispose]()
    await expect.poll(() => wrong(), { timeout: 30_000 }).toEqual([expect.stringMatching(/^process: no process octep_cp_agent: /)])
  })

  it('is not healthy where it is there twice', async () => {
    await using made = await bench()
    const { card, supervisor, adopted } = made
    await supervisor.ready(forever())
    using _second = card.startAgent({ pid: 2_000_000_001, argv: ['octep_cp_agent', '/c.cfg'], startTicks: 1 })
    const { process: found, findings } = await agentHealth(card.dpu, adopted, forever(), false)
    expect([found, findings.map(({ check, state, seen }) => [check, state, seen])]).toEqual([
      undefined,
      [
        ['process', 'fail', `processes ${supervisor.pid}, 2000000001`],
        ['driver', 'ok', expect.any(String)],
      ],
    ])
  })
})
