import { describe, expect, it } from 'vitest'
import { FakeOcteonCard } from '../../src/octeon/index.ts'
import { ManualClock } from '../cilium/clock.ts'
import { CPT, DEVICES, dmesg, driverOf, PF, refused, run, vfCount } from './support.ts'

const NUMVFS = `${PF}/sriov_numvfs`

describe('sriov_numvfs of the host', () => {
  it('takes another number only after 0', async () => {
    await using card = await FakeOcteonCard.create()
    await refused(card.host.write(NUMVFS, '4'), 'EBUSY')
    expect(await dmesg(card.host)).toContain('8 VFs already enabled. Disable before enabling 4 VFs')
    await card.host.write(NUMVFS, '8\n')
    expect(await vfCount(card.host)).toBe(8)
    await card.host.write(NUMVFS, '0')
    expect(await vfCount(card.host)).toBe(0)
    expect(await card.host.list(DEVICES)).not.toContain('0000:01:02.0')
    await card.host.write(NUMVFS, '0x4')
    expect(await card.host.read(NUMVFS)).toBe('4\n')
    expect(await vfCount(card.host)).toBe(4)
  })

  it('takes numbers only, as many as the configuration space has, and no more than the firmware gives', async () => {
    await using card = await FakeOcteonCard.create({ vfs: 8 })
    await card.host.write(NUMVFS, '0')
    for (const text of ['', 'eight', '-1', '4 4', '08']) {
      if (text === '') await card.host.write(NUMVFS, text)
      else await refused(card.host.write(NUMVFS, text), 'EINVAL')
    }
    await refused(card.host.write(NUMVFS, '65536'), 'ERANGE')
    await refused(card.host.write(NUMVFS, '65'), 'ERANGE')
    await refused(card.host.write(NUMVFS, '9'), 'EINVAL')
    expect(await dmesg(card.host)).toContain('octeon_ep 0000:01:00.0: Invalid VF count Max supported VFs = 8\n')
    expect(await dmesg(card.host)).toContain('SDP_EPF_RINFO[0x209f0]:0x8000800000008\n')
    expect(await vfCount(card.host)).toBe(0)
  })

  it('needs the driver', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh' })
    await refused(card.host.write(NUMVFS, '8'), 'ENOENT')
    await card.host.write(NUMVFS, '0')
  })

  it('keeps functions that a guest has', async () => {
    await using card = await FakeOcteonCard.create()
    card.assignToGuest(3)
    await refused(card.host.write(NUMVFS, '0'), 'EPERM')
    expect(await dmesg(card.host)).toContain("Can't disable SRIOV while VFs are assigned")
    expect(await vfCount(card.host)).toBe(8)
  })

  it('is refused by the driver out of tree until the firmware is ready', async () => {
    const clock = new ManualClock()
    await using card = await FakeOcteonCard.create({ hostDriver: 'out-of-tree', agent: 'none', clock })
    await run(card.host, 'modprobe', 'octeon_ep')
    expect(await driverOf(card.host, PF)).toBe('octeon_ep')
    expect(await card.host.list(PF)).not.toContain('net')
    await refused(card.host.write(NUMVFS, '8'), 'EAGAIN')
    card.control.runSteadily()
    clock.advance(1_000)
    await expect.poll(() => card.host.list(PF)).toContain('net')
    await card.host.write(NUMVFS, '8')
    expect(await dmesg(card.host)).toMatch(/Device setup task queued[^]*Firmware ready status = 0[^]*Device setup successful/)
  })

  it('lets functions appear one after the other where they are slow, and none any more after 0', async () => {
    const clock = new ManualClock()
    await using card = await FakeOcteonCard.create({ state: 'fresh', vfDelayMs: 50, clock })
    await run(card.host, 'modprobe', 'octeon_ep')
    await run(card.host, 'modprobe', 'octeon_ep_vf')
    await card.host.write(NUMVFS, '8')
    expect(await card.host.read(NUMVFS)).toBe('8\n')
    expect(await vfCount(card.host)).toBe(0)
    for (const count of [1, 2]) {
      await expect.poll(() => clock.sleeping).toBe(1)
      clock.advance(50)
      await expect.poll(() => vfCount(card.host)).toBe(count)
    }
    await card.host.write(NUMVFS, '0')
    clock.advance(1_000)
    expect(await vfCount(card.host)).toBe(0)
  })

  it('makes functions without a driver where none is wanted, or nobody answers what it asks', async () => {
    await using card = await FakeOcteonCard.create()
    await card.host.write(NUMVFS, '0')
    await card.host.write(`${PF}/sriov_drivers_autoprobe`, '0')
    await card.host.write(NUMVFS, '2')
    expect(await driverOf(card.host, `${DEVICES}/0000:01:02.1`)).toBeUndefined()
    await card.host.write('/sys/bus/pci/drivers_probe', '0000:01:02.1')
    expect(await driverOf(card.host, `${DEVICES}/0000:01:02.1`)).toBe('octeon_ep_vf')
    card.control.agentEnded()
    await refused(card.host.write('/sys/bus/pci/drivers_probe', '0000:01:02.0'), 'EINVAL')
    expect(await dmesg(card.host)).toContain('octeon_ep_vf 0000:01:02.0: unable to get fw info\n')
  })
})

describe('sriov_numvfs of the DPU', () => {
  it('is nothing that the admin function takes', async () => {
    await using card = await FakeOcteonCard.create({ layout: 'af' })
    const numvfs = `${DEVICES}/0002:01:00.0/sriov_numvfs`
    expect(await card.dpu.read(numvfs)).toBe('9\n')
    await refused(card.dpu.write(numvfs, '0'), 'ENOENT')
  })

  it('cuts off the host in the other layout', async () => {
    await using card = await FakeOcteonCard.create({ layout: 'sdp' })
    const numvfs = `${DEVICES}/0002:0f:00.0/sriov_numvfs`
    await refused(card.dpu.write(numvfs, '4'), 'EBUSY')
    await card.dpu.write(numvfs, '0')
    expect(await card.dpu.list(DEVICES)).not.toContain('0002:0f:00.1')
  })

  it('needs the microcode of the chip for the crypto engine, which brings algorithms', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh', revision: '54' })
    expect(await card.dpu.read('/proc/crypto')).not.toContain('cpt_')
    await card.dpu.remove('/lib/firmware/mrvl/cpt05/ie.out')
    await refused(card.dpu.write(`${CPT}/sriov_numvfs`, '1'), 'ENOENT')
    await card.dpu.place('/lib/firmware/mrvl/cpt05/ie.out', 'microcode')
    await card.dpu.write(`${CPT}/sriov_numvfs`, '1')
    const crypto = await card.dpu.read('/proc/crypto')
    expect(crypto.match(/^driver +: cpt_/gm)).toHaveLength(14)
    expect(crypto).toMatch(
      /^name +: rfc4106\(gcm\(aes\)\)\ndriver +: cpt_rfc4106_gcm_aes\nmodule +: rvu_cptvf\npriority +: 4001\nrefcnt +: 1\n/m,
    )
    await card.dpu.write(`${CPT}/sriov_numvfs`, '0')
    expect(await card.dpu.read('/proc/crypto')).not.toContain('cpt_')
  })
})
