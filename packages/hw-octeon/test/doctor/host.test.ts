import { readPciDevice } from '@cni-offload/linux/pci'
import { FakeOcteonCard, type FakeOcteonCardOptions } from '@cni-offload/testing/octeon'
import { describe, expect, it, vi } from 'vitest'
import { heartbeatFinding } from '../../src/doctor/host/firmware.ts'
import { octeonHostChecks, type OcteonHostExpectations } from '../../src/doctor/index.ts'
import { diagnose, wrong } from './diagnose.ts'

const PF = '0000:01:00.0'
const signal = (): AbortSignal => AbortSignal.timeout(60_000)
const text = (part: string): string => expect.stringContaining(part) as string
const look = async (card: FakeOcteonCard, expected: OcteonHostExpectations = {}): ReturnType<typeof diagnose> =>
  await diagnose(octeonHostChecks(card.host, expected))
const run = async (card: FakeOcteonCard, ...argv: [string, ...string[]]): Promise<void> =>
  expect(await card.host.run(argv, signal())).toMatchObject({ exitCode: 0 })

/** A card whose functions have addresses of their own. */
const plugged = async (options: FakeOcteonCardOptions = {}): Promise<FakeOcteonCard> => {
  const card = await FakeOcteonCard.create({ agent: 'none', ...options })
  const mac = (index: number): string => `02:aa:bb:00:00:${index.toString(16).padStart(2, '0')}`
  const vfs = new Map(Array.from({ length: options.vfs ?? 8 }, (_, index) => [index, { mac: mac(index + 1) }]))
  card.control.runSteadily({ pf: { mac: mac(0) }, vfs, heartbeatMs: 1_000, missCount: 20 })
  if (options.state === 'fresh') return card
  await run(card, 'modprobe', 'octeon_ep')
  await run(card, 'modprobe', 'octeon_ep_vf')
  await card.host.write(`/sys/bus/pci/devices/${PF}/sriov_numvfs`, String(options.vfs ?? 8))
  return card
}

describe('the doctor of a host', { timeout: 60_000 }, () => {
  it('finds nothing wrong where nothing is, whatever the number of VFs', async () => {
    await using card = await FakeOcteonCard.create({ vfs: 61, hostDriver: 'upstream' })
    const findings = await look(card, { vfs: 61 })
    // As shipped, all cards have the same addresses.
    expect(wrong(findings)).toEqual({
      'octeon.host.macs': expect.objectContaining({ state: 'warn', why: text('enp1s0 00:00:00:01:01:00') }) as object,
    })
    expect(findings).toMatchObject({
      'octeon.host.function': { seen: `${PF}, CN106xx A1` },
      'octeon.host.driver': { seen: `octeon_ep has ${PF}` },
      'octeon.host.vfs': { seen: '61 VFs, 61 wanted, the card has rings for 61' },
      'octeon.host.vf-drivers': { seen: '61 VFs' },
    })
  })

  it('names duplicates and shipped addresses, and nothing else', async () => {
    await using card = await plugged({ vfs: 2 })
    expect((await look(card))['octeon.host.macs']).toMatchObject({ state: 'ok', seen: '3 addresses of 3 interfaces' })
    await card.host.write(`/sys/bus/pci/devices/${PF}/sriov_numvfs`, '0')
    const mac = '02:aa:bb:00:00:09'
    card.control.runSteadily({
      pf: { mac: '02:aa:bb:00:00:00' },
      vfs: new Map([0, 1].map((index) => [index, { mac }])),
      heartbeatMs: 1_000,
      missCount: 20,
    })
    await card.host.write(`/sys/bus/pci/devices/${PF}/sriov_numvfs`, '2')
    expect((await look(card))['octeon.host.macs']).toMatchObject({
      state: 'fail',
      why: text(`${mac} (enp1s0v0, enp1s0v1)`),
      remedy: text('offload octeon cfg'),
    })
  })

  it('says that this is the DPU, or that there is no card', async () => {
    await using card = await plugged()
    expect(await diagnose(octeonHostChecks(card.dpu))).toMatchObject({
      'octeon.host.function': { state: 'fail', remedy: text('--side dpu') },
    })
    expect((await look(card, { pf: '0000:09:00.0' }))['octeon.host.function']).toMatchObject({
      state: 'fail',
      remedy: `This machine has ${PF}.`,
    })
  })

  it('says what the driver waits for', async () => {
    await using card = await plugged({ state: 'fresh' })
    expect((await look(card))['octeon.host.driver']).toMatchObject({
      state: 'fail',
      why: 'octeon_ep is not loaded',
      remedy: 'modprobe octeon_ep',
    })
    card.control.setFirmwareReady(false)
    await run(card, 'mount', '-t', 'debugfs', 'none', '/sys/kernel/debug')
    await run(card, 'modprobe', 'octeon_ep')
    expect(await look(card)).toMatchObject({
      'octeon.host.driver': { state: 'fail', why: text('devices_deferred'), remedy: text(`echo ${PF} > /sys/bus/pci/drivers_probe`) },
      'octeon.host.firmware': { state: 'fail', seen: text('Firmware not ready; defer probe.'), remedy: text('octep_cp_agent') },
    })
  })

  it("knows Marvell's driver, and what it only pretends to do", async () => {
    await using card = await plugged({ hostDriver: 'out-of-tree' })
    expect((await look(card))['octeon.host.flavour']).toMatchObject({ state: 'warn', seen: "Marvell's driver", why: text('VLAN') })
    await using upstream = await plugged()
    expect((await look(upstream))['octeon.host.flavour']).toMatchObject({ state: 'ok', seen: 'the driver of Linux' })
    upstream.host.install('dmesg', () => Promise.resolve({ exitCode: 1, exitSignal: null, stdout: '', stderr: 'Operation not permitted' }))
    expect(await look(upstream)).toMatchObject({
      'octeon.host.flavour': { state: 'skipped' },
      'octeon.host.firmware': { state: 'skipped', remedy: 'Run it as root.' },
      'octeon.host.heartbeats': { state: 'skipped' },
    })
  })

  it.each(['upstream', 'out-of-tree'] as const)(
    'says that heartbeats are missed, with the %s driver, until it is brought up again',
    async (hostDriver) => {
      await using card = await FakeOcteonCard.create({ hostDriver, agent: 'none' })
      card.control.agentStarted({ pf: { mac: '02:00:00:00:00:01' }, vfs: new Map(), heartbeatMs: 1, missCount: 20 })
      card.control.setFirmwareReady(true)
      await run(card, 'modprobe', 'octeon_ep')
      await vi.waitFor(
        async () => {
          const findings = await look(card)
          expect(findings['octeon.host.heartbeats']).toMatchObject({
            state: 'fail',
            seen: text('Missed 20 heartbeats'),
            remedy: text('down and up'),
          })
          expect(findings['octeon.host.link']).toMatchObject({ state: 'fail' })
        },
        { timeout: 30_000 },
      )
      card.control.runSteadily()
      await run(card, 'rmmod', 'octeon_ep')
      await run(card, 'modprobe', 'octeon_ep')
      expect((await look(card))['octeon.host.heartbeats']).toMatchObject({ state: 'ok' })
    },
  )

  it('does not call an interface broken that is back, but says that heartbeats are not looked for any more', async () => {
    await using card = await plugged()
    const pf = (await readPciDevice(card.host, PF))!
    const log = [`octeon_ep ${PF}: Device probe successful`, `octeon_ep ${PF}: Missed 20 heartbeats. Uninitializing`]
    const link = { name: 'enp1s0', mac: '', up: true, carrier: true }
    const state = (...args: Parameters<typeof heartbeatFinding>): string => heartbeatFinding(...args).state
    expect(state(pf, log, link)).toBe('warn')
    expect(state(pf, log, { ...link, carrier: false })).toBe('fail')
    expect(state(pf, log, { ...link, up: false, carrier: undefined })).toBe('fail')
    expect(state(pf, log, undefined)).toBe('fail')
    expect(state(pf, log.toReversed(), undefined)).toBe('ok')
  })

  it('compares VFs with what is wanted, and with what the card carries', async () => {
    await using card = await plugged({ vfs: 4 })
    expect((await look(card, { vfs: 4 }))['octeon.host.vfs']).toMatchObject({ state: 'ok' })
    expect((await look(card, { vfs: 5 }))['octeon.host.vfs']).toMatchObject({
      state: 'fail',
      why: text('sriov_totalvfs (64)'),
      remedy: text('Want 4 at most'),
    })
    expect((await look(card, { vfs: 3 }))['octeon.host.vfs']).toMatchObject({ state: 'warn' })
    await card.host.write(`/sys/bus/pci/devices/${PF}/sriov_numvfs`, '0')
    expect((await look(card))['octeon.host.vfs']).toMatchObject({ state: 'fail', remedy: text('echo 4 >') })
  })

  it('says which VFs have no driver, and which another', async () => {
    await using card = await plugged({ vfs: 3 })
    await run(card, 'rmmod', 'octeon_ep_vf')
    expect((await look(card))['octeon.host.vf-drivers']).toMatchObject({
      state: 'fail',
      why: text('no driver has 0000:01:02.0, 0000:01:02.1'),
      remedy: text('modprobe octeon_ep_vf'),
    })
    await run(card, 'modprobe', 'octeon_ep_vf')
    await card.bindVfio(1)
    expect((await look(card))['octeon.host.vf-drivers']).toMatchObject({ state: 'ok', seen: '3 VFs, 1 for programs' })
  })

  it('asks the DPU over the interface of the physical function', async () => {
    await using card = await FakeOcteonCard.create()
    const said: string[] = []
    let stdout = '3 packets transmitted, 3 received, 0% packet loss'
    card.host.install('ping', (args) => {
      said.push(args.join(' '))
      return Promise.resolve({ exitCode: 0, exitSignal: null, stdout, stderr: '' })
    })
    const ping = async (): Promise<unknown> => (await look(card, { managementPeer: '192.168.1.1' }))['octeon.host.management']
    expect(await ping()).toMatchObject({ state: 'ok', seen: '3 of 3 echoes of 192.168.1.1 over enp1s0' })
    expect(said[0]).toContain('-I enp1s0 192.168.1.1')
    stdout = '3 packets transmitted, 1 received'
    expect(await ping()).toMatchObject({ state: 'warn' })
    stdout = '3 packets transmitted, 0 received'
    expect(await ping()).toMatchObject({ state: 'fail', why: 'the DPU does not answer' })
  })
})
