import { RECEIPT_FILE, type SetupSite, takeSetupLock } from '@cni-offload/hw-octeon'
import type { SecurityAssociation } from '@cni-offload/linux/ipsec'
import { systemClock } from '@cni-offload/sdk'
import { FakeOcteonCard, type FakeOcteonMachine } from '@cni-offload/testing/octeon'
import { describe, expect, it } from 'vitest'
import { runSetup, type SetupOptions } from '../../src/octeon/setup.ts'

/** Of this process: tests of other files set other machines up. */
const LOCK = `cni-offload/test-${process.pid}`

const OPTIONS: SetupOptions = { sdk: 'auto', link: false, node: 'worker-1', device: 'octeon0', root: '/' }

/** Runs the command on a machine; what it says. Without a management link the network is not asked. */
const setup = async (machine: FakeOcteonMachine, options: Partial<SetupOptions> = {}): Promise<string[]> => {
  const said: string[] = []
  const net = {} as SetupSite['net']
  const site = { machine, net, netns: '/proc/self/ns/net', clock: systemClock, signal: AbortSignal.timeout(60_000), lock: LOCK }
  await runSetup({ ...OPTIONS, ...options }, site, (line) => said.push(line))
  return said
}

describe('offload octeon setup', { timeout: 120_000 }, () => {
  it('says what it would change, changes it, then nothing more, and undoes it', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh', firmware: '12.25.03', vfs: 3 })
    const { dpu } = card
    const planned = await setup(dpu, { dryRun: true })
    expect(planned).toEqual([
      'run: modprobe vfio-pci',
      ...['0002:18:00.0', '0002:19:00.0', '0001:00:10.0'].flatMap((address) => [
        `/sys/bus/pci/devices/${address}/driver_override: (null) → vfio-pci`,
        `/sys/bus/pci/devices/${address}/driver: none → vfio-pci`,
      ]),
      'run: mkdir /etc/cni-offload',
      expect.stringMatching(/^\/etc\/cni-offload\/cn106xx\.cfg: no file → \d+ lines$/),
    ])
    expect(await dpu.list('/etc')).not.toContain('cni-offload')
    expect(await setup(dpu)).toEqual(planned)
    const cfg = await dpu.read('/etc/cni-offload/cn106xx.cfg')
    expect(cfg).toContain('octeon0 in worker-1')
    // As many functions as the host can have.
    expect(cfg.match(/mac_addr/g)).toHaveLength(4)
    expect(await setup(dpu)).toEqual(['nothing to change: everything is set up'])
    expect(await setup(dpu, { undo: true, dryRun: true })).toHaveLength(planned.length)
    expect(await dpu.read(RECEIPT_FILE)).toContain('"vfio"')
    expect(await setup(dpu, { undo: true })).toContain('/sys/bus/pci/devices/0001:00:10.0/driver: vfio-pci → none')
    expect(await dpu.list('/etc')).not.toContain('cni-offload')
    expect(await setup(dpu, { undo: true })).toEqual(['nothing to undo'])
  })

  it('takes the release that is asked for, and leaves the configuration alone if told so', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh', firmware: '12.25.01', vfs: 1 })
    const planned = await setup(card.dpu, { dryRun: true, cfg: false })
    expect(planned).toContain('/sys/bus/pci/devices/0000:06:00.0/driver: octeontx2-dpi → vfio-pci')
    expect(planned).toContain('run: mount -t hugetlbfs none /dev/huge')
    expect(planned.join()).not.toContain('.cfg')
    expect(await setup(card.dpu, { dryRun: true, sdk: '12.24.11', cfg: '/run/octeon.cfg' })).toEqual(
      expect.arrayContaining(['run: modprobe pcie_marvell_cnxk_ep', expect.stringMatching(/^\/run\/octeon\.cfg: no file/)]),
    )
    await expect(setup(card.dpu, { sdk: '12.25.03' })).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
    expect(await setup(card.host, { dryRun: true })).toEqual(['run: modprobe octeon_ep', 'run: modprobe octeon_ep_vf'])
  })

  it('gives the kernel the crypto engine if told so, and names associations that are too old for it', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh', firmware: '12.25.03', vfs: 1 })
    const said: string[] = []
    const old = { algorithm: 'rfc4106(gcm(aes))', offload: 'none' } as SecurityAssociation
    const site = {
      machine: card.dpu,
      net: {} as SetupSite['net'],
      netns: '/proc/self/ns/net',
      clock: systemClock,
      signal: AbortSignal.timeout(60_000),
    }
    await runSetup({ ...OPTIONS, cfg: false, crypto: true }, { ...site, associations: () => [old], lock: LOCK }, (line) => said.push(line))
    expect(said.slice(-2)).toEqual([
      '/sys/bus/pci/devices/0002:20:00.0/sriov_numvfs: 0 → 1',
      expect.stringMatching(/^! 1 associations are older .*ipsec rotate/),
    ])
    expect(await setup(card.dpu, { cfg: false, crypto: true })).toEqual(['nothing to change: everything is set up'])
    await expect(setup(card.host, { crypto: true })).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('of the DPU'),
    })
  })

  it('is refused while another one is under way, and changes nothing; what only looks is not', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh', firmware: '12.25.03', vfs: 1 })
    const other = await takeSetupLock('somebody', AbortSignal.timeout(10_000), LOCK)
    const refused = { code: 'NOT_READY', message: expect.stringContaining(`somebody, process ${process.pid}`) }
    await expect(setup(card.dpu)).rejects.toMatchObject(refused)
    await expect(setup(card.dpu, { undo: true })).rejects.toMatchObject(refused)
    expect(await card.dpu.list('/etc')).not.toContain('cni-offload')
    expect(await setup(card.dpu, { dryRun: true })).not.toEqual([])
    await other[Symbol.asyncDispose]()
    await setup(card.dpu, { cfg: false })
    expect(await setup(card.dpu, { undo: true })).not.toEqual(['nothing to undo'])
  })

  it('says what it could not undo, and fails', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh', firmware: '12.25.01', vfs: 1 })
    await setup(card.dpu, { cfg: false })
    card.dpu.install('umount', () => ({ exitCode: 32, exitSignal: null, stdout: '', stderr: 'umount: /dev/huge: target is busy.' }))
    await expect(setup(card.dpu, { undo: true })).rejects.toMatchObject({
      code: 'KERNEL_REFUSED',
      message: expect.stringContaining('umount /dev/huge: umount: /dev/huge: target is busy.'),
      hint: expect.stringContaining('run it again'),
    })
  })
})
