import { describe, expect, it } from 'vitest'
import { FakeOcteonCard, SystemError } from '../../src/octeon/index.ts'
import { refused, run } from './support.ts'

const POOLS = '/sys/kernel/mm/hugepages'

describe('memory of a fake machine', () => {
  it('gives as many huge pages as there are, and says so nowhere else', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh', hugepageKb: 524_288 })
    const { dpu } = card
    expect((await dpu.list(POOLS)).toSorted()).toEqual(['hugepages-16777216kB', 'hugepages-2048kB', 'hugepages-524288kB'])
    await dpu.write('/proc/sys/vm/nr_hugepages', '8')
    expect(await dpu.read(`${POOLS}/hugepages-524288kB/nr_hugepages`)).toBe('8\n')
    expect(await dpu.read('/proc/meminfo')).toMatch(/^Hugetlb: +4194304 kB$/m)
    await dpu.write('/proc/sys/vm/nr_hugepages', '1000')
    expect(await dpu.read('/proc/sys/vm/nr_hugepages')).toBe('72\n')
    await refused(dpu.write('/proc/sys/vm/nr_hugepages', 'many'), 'EINVAL')
  })

  it('lets mounts lie on top of each other', async () => {
    await using card = await FakeOcteonCard.create({ state: 'fresh' })
    const { dpu } = card
    const mount = ['mount', '-t', 'hugetlbfs', 'none', '/dev/huge'] as const
    expect(await run(dpu, ...mount)).toMatchObject({ exitCode: 32, stderr: 'mount: /dev/huge: mount point does not exist.\n' })
    await run(dpu, 'mkdir', '/dev/huge')
    await run(dpu, ...mount)
    await run(dpu, ...mount)
    expect((await dpu.read('/proc/mounts')).match(/ \/dev\/huge hugetlbfs /g)).toHaveLength(2)
    expect(await run(dpu, 'umount', '/dev/huge')).toMatchObject({ exitCode: 0 })
    expect(await run(dpu, 'umount', '/dev/huge')).toMatchObject({ exitCode: 0 })
    expect(await run(dpu, 'umount', '/dev/huge')).toMatchObject({ exitCode: 32, stderr: 'umount: /dev/huge: not mounted.\n' })
    await run(dpu, 'umount', '/sys/kernel/debug')
    await refused(dpu.read('/sys/kernel/debug/cn10k/cpt/cpt_pc'), 'ENOENT')
  })
})

describe('commands of a fake machine', () => {
  it('are missing unless they are known', async () => {
    await using card = await FakeOcteonCard.create()
    await expect(run(card.host, 'lspci', '-D')).rejects.toSatisfy((error) => error instanceof SystemError && error.code === 'ENOENT')
    await expect(run(card.host, 'ip', 'link')).rejects.toMatchObject({ code: 'ENOENT' })
    await expect(card.host.run(['uname'], AbortSignal.abort(new Error('enough')))).rejects.toThrow('enough')
    expect(await run(card.host, '/usr/bin/uname', '-r')).toMatchObject({ stdout: '6.8.0-59-generic\n' })
  })

  it('know units by their files', async () => {
    await using card = await FakeOcteonCard.create()
    const { dpu } = card
    expect(await run(dpu, 'systemctl', 'start', 'agent')).toMatchObject({
      exitCode: 5,
      stderr: expect.stringContaining('agent.service not found'),
    })
    await dpu.place('/etc/systemd/system/agent.service', '[Service]\n')
    let starts = 0
    dpu.systemd.serve('agent.service', { start: async () => void (starts += 1), stop: async () => {} })
    expect(await run(dpu, 'systemctl', 'is-active', 'agent')).toMatchObject({ exitCode: 3, stdout: 'inactive\n' })
    await run(dpu, 'systemctl', 'daemon-reload')
    await run(dpu, 'systemctl', 'enable', '--now', 'agent.service')
    await run(dpu, 'systemctl', 'start', 'agent.service')
    expect([starts, dpu.systemd.reloads]).toEqual([1, 1])
    expect(await run(dpu, 'systemctl', 'is-active', 'agent')).toMatchObject({ exitCode: 0, stdout: 'active\n' })
    expect(await run(dpu, 'systemctl', 'is-enabled', 'agent')).toMatchObject({ exitCode: 0, stdout: 'enabled\n' })
    dpu.systemd.ended('agent.service', { failed: true })
    expect(await run(dpu, 'systemctl', 'is-active', 'agent')).toMatchObject({ exitCode: 3, stdout: 'failed\n' })
  })

  it('list modules, the newest first', async () => {
    await using card = await FakeOcteonCard.create({ firmware: '12.25.01' })
    const names = (await card.dpu.read('/proc/modules')).split('\n').map((row) => row.split(' ')[0])
    expect(names.slice(0, 2)).toEqual(['vfio_pci', 'vfio_iommu_type1'])
    expect(await run(card.dpu, 'rmmod', 'vfio')).toMatchObject({ exitCode: 1, stderr: 'rmmod: ERROR: Module vfio is in use\n' })
    expect((await run(card.dpu, 'lsmod')).stdout).toMatch(
      /^rvu_af +65536 {2}2 rvu_nicpf,rvu_cptpf$|^rvu_af +65536 {2}2 rvu_cptpf,rvu_nicpf$/m,
    )
  })
})

describe('the crypto engine', () => {
  it('counts beyond what a number holds', async () => {
    await using card = await FakeOcteonCard.create()
    const path = '/sys/kernel/debug/cn10k/cpt/cpt_pc'
    card.cpt.advance(29)
    expect(await card.dpu.read(path)).toMatch(/^CPT instruction requests {3}100\n/)
    card.cpt.setCounts({ clock: 2n ** 63n + 1n })
    expect(await card.dpu.read(path)).toContain('CPT clock count pc         9223372036854775809\n')
    card.cpt.setUsers('cpt_rfc4106_gcm_aes', 2)
    expect(await card.dpu.read('/proc/crypto')).toMatch(/^driver +: cpt_rfc4106_gcm_aes\n.*\n.*\nrefcnt +: 3$/m)
    // An association uses it by way of a generator, which is an entry of its own.
    expect(await card.dpu.read('/proc/crypto')).toMatch(/^driver +: seqiv\(cpt_rfc4106_gcm_aes\)\n.*\n.*\nrefcnt +: 3$/m)
    card.cpt.setErrors([1n])
    expect(await card.dpu.read('/sys/kernel/debug/cn10k/cpt/cpt_err_info')).toMatch(/^CPT_AF_FLTX_INT: +0x0000000000000001 0x0{16}\n/)
  })
})
