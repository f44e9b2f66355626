import { type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Readable } from 'node:stream'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { readArguments } from '../../src/octeon/agent/arguments.ts'
import {
  type AgentGeneration,
  type AgentMode,
  FakeOcteonCard,
  type FakeOcteonCardOptions,
  installFakeOctepCpAgent,
  serveFakeOcteonCard,
} from '../../src/octeon/index.ts'
import { dmesg, driverOf, PEM, PF, run } from './support.ts'

const CFG = `# one PEM, one physical function
soc = { pems = ( { idx = 0; pfs = ( {
  idx = 0; mac_addr = [0x02, 0x00, 0x00, 0x00, 0x00, 0x01]; hb_interval = 50; hb_miss_count = 20;
  vfs = ( { idx = 0; mac_addr = [0x02, 0, 0, 0, 0x01, 0x101]; }, /* cut */ { idx = 1; mac_addr = [2, 0, 0, 0, 7]; },
          { idx = 64; }, { mac_addr = [2, 0, 0, 0, 0, 9]; } );
} ); } ); };
`
const GEN3 = ['--', '--sdp_rvu_pf', '0002:18:00.0,0002:19:00.0', '--pem_dev', '0001:00:10.0']
const DEADLINE = { timeout: 60_000 }

type Child = ChildProcessByStdio<null, Readable, Readable>

interface Agent extends AsyncDisposable {
  readonly child: Child
  readonly stdout: () => string
  readonly stderr: () => string
  readonly ended: Promise<readonly [number | null, NodeJS.Signals | null]>
}

describe('arguments of the agent', () => {
  it.each<[string, readonly string[], AgentGeneration, number, RegExp]>([
    ['an option that its library does not know', ['--dpi_dev', '0000:06:00.0'], 'gen3', 255, /Invalid option\./],
    ['an option without value', ['--pem_dev'], 'gen3', 255, /Invalid option\./],
    [
      'one function too few',
      ['--sdp_rvu_pf', '0002:19:00.0', '--pem_dev', '0001:00:10.0'],
      'gen3',
      237,
      /from 0002:19:00.0\. Requires at least 2/,
    ],
    ['two functions where it knows one', GEN3.slice(1), 'gen2', 237, /Invalid DPI device BDF/],
    ['no DMA device', ['--pem_dev', '0001:00:10.0'], 'gen1', 237, /\/dev\/vfio\/0/],
    ['no PEM', ['--dpi_dev', '0000:06:00.0'], 'gen1', 237, /\/dev\/vfio\/0/],
    ['no address', ['--pem_dev', '1:2'], 'gen1', 237, /Invalid PEM device BDF/],
  ])('are refused with %s', (_title, args, generation, code, text) => {
    const { devices } = readArguments(['x.cfg', '--', ...args], generation)!
    expect(devices).toEqual({ code, text: expect.stringMatching(text) })
  })

  it('have defaults for what is not positive, and complaints for what is not known', () => {
    expect(readArguments(['x.cfg', '-y', '0', '-m', '-3', '-z'], 'gen0')).toMatchObject({
      yieldMs: 1,
      messages: 6,
      complaints: [expect.any(String)],
    })
    expect(readArguments([], 'gen0')).toBeUndefined()
  })
})

describe('a fake octep_cp_agent', { timeout: 120_000 }, () => {
  let folder: string
  let cfg: string
  beforeAll(async () => {
    folder = await mkdtemp(join(tmpdir(), 'octep-'))
    cfg = join(folder, 'cn106xx.cfg')
    await writeFile(cfg, CFG)
  })
  afterAll(() => rm(folder, { recursive: true, force: true }))

  const start = async (
    args: readonly string[],
    options: { readonly card?: string; readonly generation?: AgentGeneration; readonly mode?: AgentMode; readonly stdbuf?: string } = {},
  ): Promise<Agent> => {
    const { stdbuf, ...install } = options
    const path = await installFakeOctepCpAgent(join(folder, 'bin'), install)
    const env = { ...process.env, ...(stdbuf === undefined ? {} : { _STDBUF_O: stdbuf }) }
    const child = spawn(path, args, { stdio: ['ignore', 'pipe', 'pipe'], env })
    const texts = { stdout: '', stderr: '' }
    child.stdout.setEncoding('utf8').on('data', (text: string) => void (texts.stdout += text))
    child.stderr.setEncoding('utf8').on('data', (text: string) => void (texts.stderr += text))
    const ended = once(child, 'close') as Promise<[number | null, NodeJS.Signals | null]>
    return {
      child,
      stdout: () => texts.stdout,
      stderr: () => texts.stderr,
      ended,
      async [Symbol.asyncDispose]() {
        child.kill('SIGKILL')
        await ended
      },
    }
  }

  const ready = async (agent: Agent, count = 1): Promise<void> =>
    await expect.poll(() => agent.stderr().match(/fw ready 1 addr 0x/g)?.length ?? 0, DEADLINE).toBe(count)

  const served = async (options: FakeOcteonCardOptions = {}): Promise<AsyncDisposable & { card: FakeOcteonCard; socket: string }> => {
    await using stack = new AsyncDisposableStack()
    const socket = join(folder, 'card.sock')
    const card = stack.use(await FakeOcteonCard.create({ agent: 'none', ...options }))
    stack.use(await serveFakeOcteonCard(card, socket))
    const owned = stack.move()
    return { card, socket, [Symbol.asyncDispose]: () => owned.disposeAsync() }
  }

  it('keeps lines of the application back in a pipe until it ends in order', async () => {
    await using agent = await start([cfg, ...GEN3])
    await ready(agent)
    expect(agent.stdout()).toBe('')
    expect(agent.stderr()).toContain('SOC: Model: cn10ka_a0\n')
    agent.child.kill('SIGINT')
    expect(await agent.ended).toEqual([0, null])
    expect(agent.stdout()).toMatch(/^APP: config init : .*\n[^]*APP: Heartbeat interval : 50 msecs\nAPP: Program quitting\.\n$/)
    expect(agent.stdout()).toContain('APP: Skipping out of bounds pf[0]vf[64]\n')
    expect(agent.stderr()).toMatch(/fw ready 0 addr 0xfffe44c18418\n$/)
  })

  it('loses those lines when a signal kills it, and says nothing', async () => {
    await using agent = await start([cfg, ...GEN3])
    await ready(agent)
    agent.child.kill('SIGTERM')
    expect(await agent.ended).toEqual([null, 'SIGTERM'])
    expect(agent.stdout()).toBe('')
    expect(agent.stderr()).not.toContain('fw ready 0')
  })

  it.each<[string, readonly string[], AgentMode, number, RegExp]>([
    ['no argument', [], 'ok', 234, /config_file/],
    ['no file', ['/none.cfg', ...GEN3], 'ok', 234, /^APP: \/none\.cfg:0 - file I\/O error$/m],
    ['a broken file', ['CFG', ...GEN3], 'badcfg', 234, /^APP: .*:1 - syntax error$/m],
    ['vfio that refuses', ['CFG', ...GEN3], 'vfio', 237, /failed to open .* VFIO group at \/dev\/vfio\/32/],
    ['a link in reset', ['CFG', ...GEN3], 'noperst', 245, /pem\[0\] unavailable/],
    ['a chip that it does not know', ['CFG', ...GEN3], 'soc', 137, /SOC:/],
  ])('ends with %s', async (_title, args, mode, code, text) => {
    await using agent = await start(
      args.map((arg) => (arg === 'CFG' ? cfg : arg)),
      { mode },
    )
    expect(await agent.ended).toEqual([code, null])
    expect(agent.stdout() + agent.stderr()).toMatch(text)
  })

  it('ends with the line of a configuration that it cannot read', async () => {
    const broken = join(folder, 'broken.cfg')
    await writeFile(broken, CFG.replace('hb_interval = 50;', '\nhb_interval = = 50;'))
    await using agent = await start([broken, ...GEN3])
    expect(await agent.ended).toEqual([234, null])
    expect(agent.stdout()).toContain(`APP: ${broken}:4 - syntax error\n`)
  })

  it('crashes', async () => {
    await using agent = await start([cfg, ...GEN3], { mode: 'crash' })
    expect(await agent.ended).toEqual([null, 'SIGSEGV'])
    expect(agent.stderr()).toContain('fw ready 1')
  })

  it('takes all arguments of its generations', async () => {
    for (const [generation, args] of [
      ['gen0', []],
      ['gen1', ['-y', '5', '-m', '0', '--', '--dpi_dev', '0000:06:00.0', '--pem_dev', '0001:00:10.0']],
      ['gen2', ['--', '--sdp_rvu_pf', '0002:19:00.0', '--pem_dev', '0001:00:10.0']],
    ] as const) {
      await using agent = await start([cfg, ...args], { generation, stdbuf: 'L' })
      await ready(agent)
      if (generation === 'gen1') expect(agent.stdout()).toContain('(-y) = 0s 5000000ns\nAPP: max control msgs/events per poll (-m) = 6\n')
    }
  })

  it('gives the card what its host needs, and is seen on the DPU', async () => {
    await using bench = await served()
    const { card, socket } = bench
    await run(card.host, 'modprobe', 'octeon_ep')
    await run(card.host, 'modprobe', 'octeon_ep_vf')
    expect(await driverOf(card.host, PF)).toBeUndefined()
    await using agent = await start([cfg, ...GEN3], { card: socket })
    await ready(agent)
    expect(agent.stderr()).toContain('SOC: Model: cn10ka_a1\n')
    await card.host.write('/sys/bus/pci/drivers_probe', '0000:01:00.0')
    await card.host.write(`${PF}/sriov_numvfs`, '8')
    expect(await card.host.read(`${PF}/net/enp1s0/address`)).toBe('02:00:00:00:00:01\n')
    expect(await card.host.read(`${PF}/virtfn0/net/enp1s0v0/address`)).toBe('02:00:00:00:01:01\n')
    expect(await card.host.read(`${PF}/virtfn1/net/enp1s0v1/address`)).toBe('02:00:00:00:07:00\n')
    // The configuration has no others.
    expect(await driverOf(card.host, `${PF}/virtfn2`)).toBeUndefined()

    const { pid } = agent.child
    expect(await card.dpu.read(`/proc/${pid}/comm`)).toBe('octep_cp_agent\n')
    expect((await card.dpu.read(`/proc/${pid}/cmdline`)).split('\0')).toEqual([join(folder, 'bin/octep_cp_agent'), cfg, ...GEN3, ''])
    const group = (await card.dpu.readlink(`${PEM}/iommu_group`)).split('/').at(-1)
    const files = await Promise.all((await card.dpu.list(`/proc/${pid}/fd`)).map((fd) => card.dpu.readlink(`/proc/${pid}/fd/${fd}`)))
    expect(files).toContain(`/dev/vfio/${group}`)
    expect(await run(card.dpu, 'rmmod', 'vfio_pci')).toMatchObject({ exitCode: 1 })

    await run(card.dpu, 'kill', '-INT', String(pid))
    expect(await agent.ended).toEqual([0, null])
    await expect.poll(() => card.control.answering, DEADLINE).toBe(false)
    expect(card.control.firmwareReady).toBe(false)
    await expect(card.dpu.list(`/proc/${pid}`)).rejects.toMatchObject({ code: 'ENOENT' })
  })

  it('sleeps in each turn of its loop, whatever else it has to do', async () => {
    await using bench = await served()
    const { card, socket } = bench
    const quiet = join(folder, 'quiet.cfg')
    await writeFile(quiet, CFG.replace('hb_interval = 50', 'hb_interval = 15000'))
    await using agent = await start([quiet, ...GEN3], { card: socket })
    await ready(agent)
    const turns = async (): Promise<number> =>
      Number(/^voluntary_ctxt_switches:\t(\d+)$/m.exec(await card.dpu.read(`/proc/${agent.child.pid}/status`))?.[1])
    const before = await turns()
    await expect.poll(turns, { timeout: 10_000 }).toBeGreaterThan(before + 100)
  })

  it('leaves the host believing that it is ready when it is killed, until heartbeats are missed', async () => {
    await using bench = await served({ hostDriver: 'out-of-tree' })
    const { card, socket } = bench
    await using agent = await start([cfg, ...GEN3], { card: socket })
    await ready(agent)
    await run(card.host, 'modprobe', 'octeon_ep')
    agent.child.kill('SIGKILL')
    await agent.ended
    await expect.poll(() => dmesg(card.host), DEADLINE).toContain('Missed 20 heartbeats. carrier off\n')
    expect(card.control.firmwareReady).toBe(true)
  })

  it('finds its functions in use, or not given to it', async () => {
    await using bench = await served()
    const { card, socket } = bench
    await using first = await start([cfg, ...GEN3], { card: socket })
    await ready(first)
    await using second = await start([cfg, ...GEN3], { card: socket })
    expect(await second.ended).toEqual([237, null])
    first.child.kill('SIGKILL')
    await first.ended
    await expect.poll(() => card.control.answering, DEADLINE).toBe(false)
    await card.dpu.write(`${PEM}/driver/unbind`, '0001:00:10.0')
    await using third = await start([cfg, ...GEN3], { card: socket })
    expect(await third.ended).toEqual([237, null])
    expect(third.stderr()).toMatch(/failed to open PEM VFIO group at \/dev\/vfio\/\d+\n$/)
  })

  it('gets over a reset of the link', async () => {
    await using bench = await served()
    const { card, socket } = bench
    await using agent = await start([cfg, ...GEN3], { card: socket, stdbuf: 'L' })
    await ready(agent)
    card.perst()
    await ready(agent, 2)
    expect(agent.stdout()).toMatch(/APP: Event: perst on dom\[0\]\nAPP: Reinitiazing PEM 0\nAPP: Loop Init\n/)
    expect(agent.stderr()).toMatch(/LIB: Got PERST\n[^]*fw ready 0[^]*fw ready 1/)
    expect(card.control.firmwareReady).toBe(true)
  })

  it.each([
    ['that it cannot survive', 'zombie', true],
    ['after which the link does not come back', 'ok', false],
  ] as const)('does not get over a reset %s, stays, and is of no use', async (_, mode, comesBack) => {
    await using bench = await served()
    const { card, socket } = bench
    await using agent = await start([cfg, ...GEN3], { card: socket, mode, stdbuf: 'L' })
    await ready(agent)
    card.perst(comesBack)
    await expect.poll(() => agent.stdout(), DEADLINE).toContain('APP: Unable to handle perst event on PEM 0!\n')
    await expect.poll(() => card.control.answering, DEADLINE).toBe(false)
    expect(card.control.firmwareReady).toBe(false)
    expect(agent.child.exitCode).toBeNull()
    expect(await card.dpu.list(`/proc/${agent.child.pid}/fd`)).toHaveLength(6)
  })
})
