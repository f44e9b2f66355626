import { FakeOcteonCard } from '@cni-offload/testing/octeon'
import { describe, expect, it } from 'vitest'
import { unitFor } from '../../src/octeon/unit.ts'

const options = { sdk: 'auto', cfg: '/etc/c.cfg', binary: '/opt/octep_cp_agent' } as const
const command = (unit: string): string | undefined => /^ExecStart=(.*)$/m.exec(unit)?.[1]

describe('unitFor', { timeout: 60_000 }, () => {
  it.each([
    ['12.25.03', '-- --sdp_rvu_pf 0002:18:00.0,0002:19:00.0 --pem_dev 0001:00:10.0'],
    ['12.25.01', '-- --dpi_dev 0000:06:00.0 --pem_dev 0001:00:10.0'],
  ] as const)('starts the agent that fits the firmware of SDK %s', async (firmware, rest) => {
    await using card = await FakeOcteonCard.create({ firmware })
    const unit = await unitFor({ ...options, poll: 2, maxMessages: 12, prepare: '/opt/prepare' }, card.dpu)
    expect(command(unit)).toBe(`/opt/octep_cp_agent /etc/c.cfg -y 2 -m 12 ${rest}`)
    expect(unit).toContain('ExecStartPre=-/sbin/modprobe vfio-pci\nExecStartPre=/opt/prepare\n')
  })

  it('has what the agent prints in lines where the machine can do that', async () => {
    await using card = await FakeOcteonCard.create()
    await card.dpu.place('/usr/bin/stdbuf', '')
    expect(command(await unitFor(options, card.dpu))).toMatch(/^\/usr\/bin\/stdbuf -oL \/opt\/octep_cp_agent /)
  })

  it('refuses a machine without the functions of an agent, as the host is', async () => {
    await using card = await FakeOcteonCard.create()
    await expect(unitFor(options, card.host)).rejects.toMatchObject({
      code: 'HARDWARE_FAILURE',
      message: 'the card shows no PCI link (177d:a06c): no control agent fits its firmware',
    })
  })

  it('refuses a release that the firmware cannot have', async () => {
    await using card = await FakeOcteonCard.create({ firmware: '12.25.01' })
    await expect(unitFor({ ...options, sdk: '12.25.03' }, card.dpu)).rejects.toMatchObject({ code: 'INVALID_CONFIG' })
  })
})
