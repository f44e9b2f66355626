import { FakeOcteonCard } from '@cni-offload/testing/octeon'
import { describe, expect, it } from 'vitest'
import { formatAgentConfig, generateAgentConfig } from '../../src/index.ts'
import { type OcteonDpuExpectations, octeonDpuChecks, type OcteonFinding } from '../../src/doctor/index.ts'
import { MemoryMachine } from '../support/memory-machine.ts'
import { type PciFunction, plug } from '../support/pci-function.ts'
import { diagnose } from './diagnose.ts'

const [PEM, FIRST, SECOND, DPI] = ['0001:00:10.0', '0002:18:00.0', '0002:19:00.0', '0000:06:00.0']
const text = (part: string): string => expect.stringContaining(part) as string
const CFG = '/etc/octeon/cn106xx.cfg'
const OPTIONS = ['--sdp_rvu_pf', `${FIRST},${SECOND}`, '--pem_dev', PEM] as const
const LOG = '/tmp/octep-cp-log.txt'
const RECORD = '/var/lib/cni-offload/agent/hardware/octep_cp_agent.json'
const SINCE = '2026-01-01T00:00:00.000Z'
const READY = 'SOC: Model: cn10ka_a1\nCNXK: pem[0] pf[0] fw ready 1 addr 0x1\n'

/** A DPU with all that the agent of SDK 12.25.03 wants, and that agent. */
function machineWithAgent(more: Partial<Record<string, Partial<PciFunction>>> = {}): MemoryMachine {
  const machine = new MemoryMachine({
    '/proc/meminfo': 'HugePages_Total:       8\nHugePages_Free:        7\nHugepagesize:      32768 kB\n',
    '/sys/module/vfio_pci/refcnt': '1\n',
    [CFG]: formatAgentConfig(generateAgentConfig({ chip: 'CN106xx', node: 'n1', vfs: 4 })),
    [LOG]: READY,
  })
  for (const [group, address] of [PEM, FIRST, SECOND].entries()) {
    plug(machine, address, { device: address === PEM ? 'a06c' : 'a0ef', driver: 'vfio-pci', group: 30 + group, ...more[address] })
    machine.links.set(`/sys/kernel/iommu_groups/${30 + group}/devices/${address}`, '../../../../devices/x')
    machine.files.set(`/dev/vfio/${30 + group}`, '')
  }
  run(machine, 4242, ['octep_cp_agent', CFG, '--', ...OPTIONS])
  return machine
}

function run(machine: MemoryMachine, pid: number, argv: readonly string[], groups: readonly number[] = [30, 31, 32]): void {
  machine.files.set(`/proc/${pid}/comm`, `${argv[0] ?? ''}\n`)
  machine.files.set(`/proc/${pid}/cmdline`, argv.map((word) => `${word}\0`).join(''))
  machine.files.set(`/proc/${pid}/stat`, `${pid} (${argv[0] ?? ''}) S 1 1 1 ${'0 '.repeat(15)}777 0\n`)
  machine.links.set(`/proc/${pid}/fd/0`, '/dev/null')
  for (const [index, group] of groups.entries()) machine.links.set(`/proc/${pid}/fd/${index + 3}`, `/dev/vfio/${group}`)
}

function end(machine: MemoryMachine, pid: number): void {
  for (const map of [machine.files, machine.links]) for (const path of map.keys()) if (path.startsWith(`/proc/${pid}/`)) map.delete(path)
}

const look = async (machine: MemoryMachine, expected: OcteonDpuExpectations = {}): ReturnType<typeof diagnose> =>
  await diagnose(octeonDpuChecks(machine, { associations: () => [], ...expected }).filter(({ id }) => /agent|vfio|hugepages/.test(id)))

describe('the doctor of a control agent', { timeout: 60_000 }, () => {
  it('finds nothing wrong where nothing is', async () => {
    expect(await look(machineWithAgent())).toMatchObject({
      'octeon.dpu.agent-release': { state: 'ok', seen: `SDK 12.25.03, ${OPTIONS.join(' ')}` },
      'octeon.dpu.vfio': { state: 'ok', seen: text('/dev/vfio/31') },
      'octeon.dpu.hugepages': { state: 'ok', seen: text('this release needs none') },
      'octeon.dpu.agent': { state: 'ok', seen: text('process 4242') },
      'octeon.dpu.agent-devices': { state: 'ok' },
      'octeon.dpu.agent-log': { state: 'ok', seen: text('fw ready 1') },
      'octeon.dpu.agent-config': { state: 'ok' },
    })
  })

  it('says that functions are missing for any release', async () => {
    await using card = await FakeOcteonCard.create({ firmware: '12.24.09' })
    const old = async (): ReturnType<typeof diagnose> =>
      await diagnose(octeonDpuChecks(card.dpu, { sdk: '12.25.03' }).filter(({ id }) => id === 'octeon.dpu.agent-release'))
    expect((await old())['octeon.dpu.agent-release']).toMatchObject({
      state: 'fail',
      why: text('two of the packet interface'),
      remedy: text('12.25.01'),
    })
    const machine = new MemoryMachine({ '/sys/module/x/refcnt': '0\n' })
    plug(machine, FIRST, { device: 'a0ef' })
    const checks = octeonDpuChecks(machine, { associations: () => [] })
    expect(await diagnose(checks.filter(({ id }) => /pem|rvu|release/.test(id)))).toMatchObject({
      'octeon.dpu.pem': { state: 'fail', seen: 'no function 177d:a06c', remedy: text('Update the firmware') },
      'octeon.dpu.sdp-rvu': {
        state: 'fail',
        seen: `one function 177d:a0ef, ${FIRST}`,
        remedy: text(`/sys/bus/pci/devices/${FIRST}/remove`),
      },
      'octeon.dpu.agent-release': { state: 'fail', why: text('no PCI link (177d:a06c)') },
    })
  })

  it('says what is not bound, whose group is not viable, and which node is missing', async () => {
    expect((await look(machineWithAgent({ [PEM]: { driver: 'octeontx2-dpi' } })))['octeon.dpu.vfio']).toMatchObject({
      state: 'fail',
      seen: `${PEM} has octeontx2-dpi`,
      remedy: text('offload octeon setup'),
    })
    const shared = machineWithAgent()
    plug(shared, DPI, { device: 'a080', driver: 'octeontx2-dpi', group: 30 })
    shared.links.set(`/sys/kernel/iommu_groups/30/devices/${DPI}`, '../../../../devices/x')
    expect((await look(shared))['octeon.dpu.vfio']).toMatchObject({
      state: 'fail',
      why: text(`not viable, kernel drivers have ${DPI} (octeontx2-dpi)`),
    })
    const bare = machineWithAgent()
    bare.files.delete('/dev/vfio/32')
    expect((await look(bare))['octeon.dpu.vfio']).toMatchObject({ state: 'fail', why: text('/dev/vfio/32') })
  })

  it('counts huge pages by what the release needs, and by what it cannot mean', async () => {
    const pages = async (total: number, kb: number, sdk: '12.25.03' | '25.04'): Promise<unknown> => {
      const machine = machineWithAgent()
      machine.files.set('/proc/meminfo', `HugePages_Total: ${total}\nHugePages_Free: ${total}\nHugepagesize: ${kb} kB\n`)
      return (await look(machine, { sdk }))['octeon.dpu.hugepages']
    }
    expect(await pages(0, 32_768, '12.25.03')).toMatchObject({ state: 'ok' })
    expect(await pages(7, 32_768, '25.04')).toMatchObject({ state: 'fail', remedy: text('echo 8 > /proc/sys/vm/nr_hugepages') })
    expect(await pages(8, 32_768, '25.04')).toMatchObject({ state: 'ok' })
    expect(await pages(1, 524_288, '25.04')).toMatchObject({ state: 'ok' })
    // What a script for pages of 32 MiB does where they have 512 MiB.
    expect(await pages(8, 524_288, '25.04')).toMatchObject({ state: 'warn', why: text('4096 MiB'), remedy: text('echo 1 >') })
    expect(await pages(1, 1_048_576, '25.04')).toMatchObject({ state: 'ok' })
  })

  it('says that somebody else has all huge pages, unless the agent has got its own already', async () => {
    const machine = machineWithAgent()
    machine.files.set('/proc/meminfo', 'HugePages_Total: 8\nHugePages_Free: 0\nHugepagesize: 32768 kB\n')
    const found = async (): Promise<unknown> => (await look(machine, { sdk: '25.04' }))['octeon.dpu.hugepages']
    expect(await found()).toMatchObject({ state: 'ok' })
    end(machine, 4242)
    expect(await found()).toMatchObject({ state: 'fail', why: text('somebody else has all'), remedy: text('echo 16 >') })
  })

  it('says that none runs, that two do, and that one was given something else', async () => {
    const machine = machineWithAgent()
    run(machine, 4300, ['octep_cp_agent', CFG, '--', ...OPTIONS])
    expect((await look(machine))['octeon.dpu.agent']).toMatchObject({ state: 'fail', seen: 'processes 4242, 4300', remedy: text('SIGINT') })
    end(machine, 4300)
    end(machine, 4242)
    run(machine, 4301, ['bash', '-c', 'octep_cp_agent x'])
    expect((await look(machine))['octeon.dpu.agent']).toMatchObject({
      state: 'fail',
      seen: 'no process octep_cp_agent',
      remedy: text('offload octeon unit'),
    })
    run(machine, 4242, ['octep_cp_agent', CFG, '--', '--sdp_rvu_pf', SECOND, '--pem_dev', PEM])
    expect((await look(machine))['octeon.dpu.agent']).toMatchObject({ state: 'fail', why: text(OPTIONS.join(' ')) })
    run(machine, 4242, ['octep_cp_agent', CFG, '-y', '2', '--', '--pem_dev', PEM, '--sdp_rvu_pf', `${FIRST},${SECOND}`, '--dpi_dev', DPI])
    expect((await look(machine))['octeon.dpu.agent']).toMatchObject({ state: 'ok' })
  })

  it('says that it hangs, and takes no more time than it has to', async () => {
    const machine = machineWithAgent()
    let at = 0
    const pass = async (perMs: number, argv: readonly string[] = []): Promise<unknown> => {
      run(machine, 4242, ['octep_cp_agent', CFG, ...argv, '--', ...OPTIONS])
      const shown = (): unknown => machine.files.set('/proc/4242/status', `voluntary_ctxt_switches:\t${Math.floor(at * perMs)}\n`)
      shown()
      const began = at
      const sleep = async (ms: number): Promise<void> => {
        at += ms
        shown()
      }
      const clock = { now: () => at, monotonic: () => at, sleep }
      const { state, seen } = (await look(machine, { clock }))['octeon.dpu.agent-turns'] ?? {}
      return [state, seen, at - began]
    }
    expect(await pass(1)).toEqual(['ok', 'process 4242 takes its turns', 100])
    expect(await pass(0)).toEqual(['fail', 'process 4242 has taken 0 turns of its loop in 2 s, where 20 are few', 2_000])
    // By its timer alone.
    expect(await pass(0.001)).toEqual(['fail', 'process 4242 has taken 2 turns of its loop in 2 s, where 20 are few', 2_000])
    expect(await pass(0.001, ['-y', '1000'])).toEqual(['ok', 'process 4242 takes its turns', expect.any(Number)])
  })

  it('says which functions it has not open', async () => {
    const machine = machineWithAgent()
    machine.links.delete('/proc/4242/fd/4')
    expect((await look(machine))['octeon.dpu.agent-devices']).toMatchObject({
      state: 'fail',
      seen: `process 4242 has not open: ${FIRST} (/dev/vfio/31)`,
    })
    machine.refused.set('/proc/4242/fd', 'EACCES')
    expect((await look(machine))['octeon.dpu.agent-devices']).toMatchObject({ state: 'skipped', remedy: 'Run it as root.' })
  })

  it.each([
    [
      'it runs on after a reset that it did not survive',
      `${READY}APP: Unable to handle perst event on PEM 0!\n`,
      'fail',
      'goes on without heartbeats',
    ],
    ['the host boots', `${READY}APP: Event: perst on dom[0]\nCNXK: pem[0] pf[0] fw ready 0 addr 0x1\n`, 'fail', 'being reset'],
    [
      'it has survived a reset',
      `${READY}LIB: Got PERST\nCNXK: pem[0] pf[0] fw ready 0 addr 0x1\nCNXK: pem[0] pf[0] fw ready 1 addr 0x1\n`,
      'ok',
      '',
    ],
    ['it was started again', `${READY}APP: Unable to handle perst event on PEM 0!\n${READY}`, 'ok', ''],
    ['it cannot open a group', 'SOC: Model: cn10ka_a1\nCNXK: VFIO Group is not viable\n', 'fail', 'vfio-group-not-viable'],
    ['it has said nothing yet', '', 'fail', 'not ready'],
  ] as const)('knows by its log that %s', async (_, log, state, why) => {
    const machine = machineWithAgent()
    machine.files.set(LOG, log)
    expect((await look(machine))['octeon.dpu.agent-log']).toMatchObject({ state, why: text(why) })
    machine.files.delete(LOG)
    expect((await look(machine))['octeon.dpu.agent-log']).toMatchObject({ state: 'skipped', remedy: text('journalctl') })
  })

  it.each<[string, object | string | undefined, Partial<OcteonFinding>]>([
    ['is ready', { state: 'ready', since: SINCE, pid: 4242 }, { state: 'ok', seen: `process 4242, ready since ${SINCE}` }],
    [
      'is ready again',
      { state: 'ready', since: SINCE, pid: 4242, before: { reasons: ['it was lost', 'it was killed'], at: SINCE, ms: 727 } },
      { state: 'ok', seen: text('; before that 727 ms without it: it was lost; then it was killed') },
    ],
    [
      'is that of a daemon that was killed',
      { state: 'ready', since: SINCE, pid: 4241 },
      { state: 'fail', why: text('no such process'), remedy: 'Start the DPU daemon.' },
    ],
    [
      'is started again and again',
      {
        state: 'waiting',
        since: SINCE,
        reasons: ['it got no memory'],
        hint: 'Free some.',
        failures: 3,
        retryAt: '2026-01-01T00:01:00.000Z',
      },
      {
        state: 'fail',
        seen: text('3 starts in a row have failed, the next is at 2026-01-01T00:01:00'),
        why: 'it got no memory',
        remedy: 'Free some.',
      },
    ],
    [
      'is given up',
      { state: 'given-up', since: SINCE, reasons: ['no such chip'] },
      { state: 'fail', seen: text('given up'), why: 'no such chip' },
    ],
    ['was never run', undefined, { state: 'fail', seen: `no ${RECORD}`, remedy: 'Start the DPU daemon.' }],
    ['cannot be read', 'what?', { state: 'fail', why: text('is no JSON') }],
    ['is of another kind', { state: 'fine' }, { state: 'fail', why: text('state') }],
  ])('knows by the record of its supervisor that it %s', async (_, record, finding) => {
    const machine = machineWithAgent()
    if (record !== undefined) machine.files.set(RECORD, typeof record === 'string' ? record : JSON.stringify(record))
    const found = await look(machine, { agentRecord: RECORD })
    expect(found['octeon.dpu.agent-supervisor']).toMatchObject(finding)
    // One that is run by the daemon says nothing anywhere else.
    expect(found).not.toHaveProperty('octeon.dpu.agent-log')
  })

  it('reads the configuration that it was started with, wherever its folder and root are', async () => {
    const machine = machineWithAgent()
    const shipped = 'soc = { pems = ( { idx = 0; pfs = ( { idx = 0; mac_addr = [0x00,0x00,0x00,0x01,0x01]; vfs = (); } ); } ); };\n'
    machine.files.set(CFG, shipped)
    const config = async (): Promise<unknown> => (await look(machine))['octeon.dpu.agent-config']
    expect(await config()).toMatchObject({ state: 'fail', why: text('mac_addr'), remedy: text('offload octeon cfg') })
    machine.files.set(`/proc/4242/root${CFG}`, formatAgentConfig(generateAgentConfig({ chip: 'CN106xx', node: 'n2', vfs: 2 })))
    expect(await config()).toMatchObject({ state: 'ok', seen: `/proc/4242/root${CFG}` })
    end(machine, 4242)
    run(machine, 4242, ['octep_cp_agent', 'cn106xx.cfg', '--', ...OPTIONS])
    machine.links.set('/proc/4242/cwd', '/etc/octeon')
    expect(await config()).toMatchObject({ state: 'fail', seen: text(CFG) })
    machine.files.delete(CFG)
    expect(await config()).toMatchObject({ state: 'fail', why: 'it cannot be read' })
  })
})
