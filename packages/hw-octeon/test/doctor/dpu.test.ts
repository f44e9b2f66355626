import { type DpuFirmware, type DpuLayout, FakeOcteonCard } from '@cni-offload/testing/octeon'
import { describe, expect, it } from 'vitest'
import { octeonDpuChecks, type OcteonDpuExpectations } from '../../src/doctor/index.ts'
import { association, GCM } from '../support/crypto-entries.ts'
import { diagnose } from './diagnose.ts'

const CPT = '0002:20:00.0'
const text = (part: string): string => expect.stringContaining(part) as string
const look = async (card: FakeOcteonCard, expected: OcteonDpuExpectations = {}): ReturnType<typeof diagnose> =>
  await diagnose(octeonDpuChecks(card.dpu, { associations: () => [], ...expected }))
const run = async (card: FakeOcteonCard, ...argv: [string, ...string[]]): Promise<void> =>
  expect(await card.dpu.run(argv, AbortSignal.timeout(60_000))).toMatchObject({ exitCode: 0 })
const debugfs = async (card: FakeOcteonCard): Promise<void> => await run(card, 'mount', '-t', 'debugfs', 'none', '/sys/kernel/debug')

const LAYOUTS: readonly DpuLayout[] = ['af', 'sdp']
const FIRMWARES: readonly DpuFirmware[] = ['12.24.09', '12.25.01', '12.25.03']

describe('the doctor of a DPU', { timeout: 60_000 }, () => {
  it.each(LAYOUTS.flatMap((layout) => FIRMWARES.map((firmware) => [layout, firmware] as const)))(
    'knows layout %s with firmware %s',
    async (layout, firmware) => {
      await using card = await FakeOcteonCard.create({ layout, firmware, vfs: 12 })
      expect(await look(card, { vfs: 12 })).toMatchObject({
        'octeon.dpu.function': { state: 'ok', seen: `CN106xx, A1, ${layout === 'af' ? 'SDP at the admin function' : 'SDP of its own'}` },
        'octeon.dpu.ports': {
          state: 'ok',
          seen: '13 functions 177d:a0f7 for the physical function and 12 VFs of the host, in the order of their numbers',
        },
        'octeon.dpu.pem': { state: 'ok', seen: '0001:00:10.0' },
        'octeon.dpu.sdp-rvu': {
          state: 'ok',
          seen: firmware === '12.25.03' ? '0002:18:00.0, 0002:19:00.0' : 'none: firmware before SDK 12.25.03',
        },
        'octeon.dpu.swap': { state: 'ok' },
      })
    },
  )

  it('says that this is the host', async () => {
    await using card = await FakeOcteonCard.create()
    expect(await diagnose(octeonDpuChecks(card.host))).toMatchObject({
      'octeon.dpu.function': { state: 'fail', remedy: text('--side host') },
    })
  })

  it('says that there are fewer ports than VFs are wanted, and ports without driver', async () => {
    await using card = await FakeOcteonCard.create({ vfs: 4 })
    expect((await look(card, { vfs: 5 }))['octeon.dpu.ports']).toMatchObject({
      state: 'fail',
      why: '5 VFs are wanted',
      remedy: text('Want 4 at most'),
    })
    const port = '0002:01:00.3'
    await card.dpu.write(`/sys/bus/pci/devices/${port}/driver/unbind`, port)
    expect((await look(card))['octeon.dpu.ports']).toMatchObject({ state: 'fail', why: `no driver has ${port}` })
    await card.dpu.write(`/sys/bus/pci/devices/${port}/driver_override`, 'vfio-pci')
    await card.dpu.write('/sys/bus/pci/drivers_probe', port)
    expect((await look(card))['octeon.dpu.ports']).toMatchObject({ state: 'warn', why: text(`${port} (vfio-pci)`) })
  })

  it('says that somebody swaps', async () => {
    await using card = await FakeOcteonCard.create()
    const { dpu } = card
    const read = dpu.read.bind(dpu)
    Object.assign(dpu, {
      read: async (path: string) =>
        path === '/proc/swaps' ? 'Filename Type Size Used Priority\n/dev/sda3 partition 8 0 -2\n' : await read(path),
    })
    expect((await look(card))['octeon.dpu.swap']).toMatchObject({ state: 'warn', seen: '/dev/sda3', why: text('kubelet') })
  })

  it('says that drivers wait for each other', async () => {
    await using card = await FakeOcteonCard.create()
    const findings = async (): ReturnType<typeof diagnose> => await look(card)
    await run(card, 'umount', '/sys/kernel/debug')
    expect((await findings())['octeon.dpu.deferred']).toMatchObject({ state: 'skipped', remedy: text('mount -t debugfs') })
    await debugfs(card)
    expect((await findings())['octeon.dpu.deferred']).toMatchObject({ state: 'ok' })
    const { dpu } = card
    const read = dpu.read.bind(dpu)
    Object.assign(dpu, {
      read: async (path: string) =>
        path.endsWith('/devices_deferred') ? `${CPT}\trvu_cptpf: AF is not ready\nserial0\t\n` : await read(path),
    })
    expect((await findings())['octeon.dpu.deferred']).toMatchObject({
      state: 'fail',
      why: text(`CPT ${CPT} (rvu_cptpf: AF is not ready)`),
      remedy: text('rvu_af'),
    })
  })

  it('asks the host over the port of its physical function', async () => {
    await using card = await FakeOcteonCard.create()
    expect((await look(card))['octeon.dpu.link']).toMatchObject({
      state: 'fail',
      seen: 'enP2p1s0v0 is down',
      remedy: 'ip link set enP2p1s0v0 up',
    })
    expect((await look(card, { managementPeer: '192.168.1.2' }))['octeon.dpu.management']).toMatchObject({
      state: 'fail',
      seen: 'enP2p1s0v0 is down',
    })
  })
})

describe('the doctor of a crypto engine', { timeout: 60_000 }, () => {
  const crypto = async (card: FakeOcteonCard, expected: OcteonDpuExpectations = {}): Promise<object> =>
    Object.fromEntries(Object.entries(await look(card, expected)).filter(([id]) => id.startsWith('octeon.dpu.cpt')))

  it('finds nothing wrong where nothing is', async () => {
    await using card = await FakeOcteonCard.create()
    await debugfs(card)
    expect(await crypto(card)).toMatchObject({
      'octeon.dpu.cpt-firmware': { state: 'ok', seen: '/lib/firmware/mrvl/cpt04, as the card is CN106xx A1' },
      'octeon.dpu.cpt': { state: 'ok', seen: text(`${CPT}, for ${GCM}`) },
      'octeon.dpu.cpt-associations': { state: 'ok' },
      'octeon.dpu.cpt-faults': { state: 'ok', seen: 'none' },
    })
  })

  it('names microcode that is missing, before and after it was needed', async () => {
    await using bare = await FakeOcteonCard.create({ microcode: false })
    expect(await crypto(bare)).toMatchObject({
      'octeon.dpu.cpt-firmware': {
        state: 'fail',
        why: 'ae.out, se.out, ie.out is missing: the kernel answers ENOENT to sriov_numvfs',
        remedy: text('mrvl/cpt04'),
      },
      'octeon.dpu.cpt': { state: 'fail', why: text('no microcode') },
    })
    await using card = await FakeOcteonCard.create({ revision: '54' })
    await card.dpu.remove('/lib/firmware/mrvl/cpt05/se.out')
    expect(await crypto(card)).toMatchObject({ 'octeon.dpu.cpt-firmware': { state: 'warn', why: text('se.out is not there any more') } })
  })

  it('says that the kernel does not have it yet', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh' })
    expect(await crypto(card)).toMatchObject({
      'octeon.dpu.cpt': { state: 'warn', remedy: text(`echo 1 > /sys/bus/pci/devices/${CPT}/sriov_numvfs`) },
    })
  })

  it('names associations that are older', async () => {
    await using card = await FakeOcteonCard.create()
    const old = association(1n)
    expect(await crypto(card, { associations: () => [old] })).toMatchObject({
      'octeon.dpu.cpt-associations': {
        state: 'warn',
        why: text('began without it and keep the CPU: 10.0.0.1 → 10.0.0.2 SPI 0x3'),
        remedy: text('offload ipsec rotate'),
      },
    })
    const unreadable = (): never => {
      throw new Error('EPERM')
    }
    expect(await crypto(card, { associations: unreadable })).toMatchObject({
      'octeon.dpu.cpt-associations': { state: 'skipped', why: 'EPERM' },
    })
  })

  it('shows faults', async () => {
    await using card = await FakeOcteonCard.create()
    await debugfs(card)
    card.cpt.setErrors([4n])
    expect(await crypto(card)).toMatchObject({ 'octeon.dpu.cpt-faults': { state: 'fail', seen: text('CPT_AF_FLTX_INT 0x4 0x0') } })
  })
})
