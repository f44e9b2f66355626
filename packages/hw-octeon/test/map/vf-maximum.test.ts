import { systemClock } from '@cni-offload/sdk'
import type { CommandOutcome, Machine } from '@cni-offload/linux/machine'
import { readPciDevice, type VfCountOptions } from '@cni-offload/linux/pci'
import { expect, it } from 'vitest'
import { vfMaximum, vfMaximumInLog } from '../../src/index.ts'
import { hostFunctionsOfTree, SysfsTree } from '../sysfs-tree.ts'

const PF = '0000:01:00.0'
const line = (value: string, pf = PF): string => `[2273311.832728] octeon_ep ${pf}: SDP_EPF_RINFO[0x209f0]:0x${value}\n`

it.each([
  ['8000800000008', 8],
  ['3f000800000008', 63],
  ['ff000800000008', 127],
  ['800000008', 0],
])('rings for VFs in 0x%s: %i', (value, count) => {
  expect(vfMaximumInLog(line(value), PF)).toBe(count)
})

it('the last line of this function counts, and what only looks like it does not', () => {
  const log = [
    line('8000800000008'),
    line('10000800000008'),
    line('20000800000008', '0000:41:00.0'),
    'octeon_ep 0000:01:00.0: pf_srn=0 rpvf=8 nvfs=0 rppf=8\n',
  ].join('')
  expect(vfMaximumInLog(log, PF)).toBe(16)
  expect(vfMaximumInLog(log, '0000:02:00.0')).toBeUndefined()
  expect(vfMaximumInLog('', PF)).toBeUndefined()
})

const options: VfCountOptions = { clock: systemClock, signal: AbortSignal.timeout(30_000), inUse: async () => undefined, withinMs: 0 }

const MOST = 16

/** A host whose driver accepts up to `limit` VFs, and whose log is `log`. */
const hostWith = async (log: CommandOutcome | Error, limit: number): Promise<{ machine: Machine; asked: string[]; tree: SysfsTree }> => {
  const tree = await SysfsTree.create(hostFunctionsOfTree(MOST))
  const asked: string[] = []
  let enabled = 0
  const exists = (name: string): boolean => !name.startsWith('virtfn') || Number(name.slice('virtfn'.length)) < enabled
  const machine: Machine = {
    ...tree.machine,
    read: async (path) => (path.endsWith('sriov_numvfs') ? `${enabled}\n` : await tree.machine.read(path)),
    list: async (path) => (await tree.machine.list(path)).filter(exists),
    write: async (_, text) => {
      asked.push(text)
      if (enabled !== 0 && text !== '0') throw Object.assign(new Error('busy'), { code: 'EBUSY' })
      if (Number(text) > limit) throw Object.assign(new Error('too many'), { code: 'EINVAL' })
      enabled = Number(text)
    },
    run: async () => {
      if (log instanceof Error) throw log
      return log
    },
  }
  return { machine, asked, tree }
}

const pfOf = async (machine: Machine): Promise<NonNullable<Awaited<ReturnType<typeof readPciDevice>>>> => {
  const pf = await readPciDevice(machine, PF)
  if (pf === undefined) throw new Error('no function')
  return pf
}

it('is what the log says, never what the PCI header allows', async () => {
  const { machine, asked, tree } = await hostWith({ exitCode: 0, exitSignal: null, stdout: line('8000800000008'), stderr: '' }, 8)
  await using _ = tree
  expect(await vfMaximum(machine, await pfOf(machine), options)).toEqual({ count: 8, source: 'driver-log' })
  expect(asked).toEqual([])
})

it.each([0, 1, 7, 8, 15, 16, 64])('is what the driver accepts where the log does not say: %i', async (limit) => {
  const { machine, tree } = await hostWith({ exitCode: 1, exitSignal: null, stdout: '', stderr: 'not permitted' }, limit)
  await using _ = tree
  const pf = await pfOf(machine)
  expect(await vfMaximum(machine, { ...pf, sriov: { total: MOST, enabled: 0, autoprobe: true } }, options)).toEqual({
    count: Math.min(limit, MOST),
    source: 'accepted',
  })
  expect((await pfOf(machine)).sriov?.enabled).toBe(0)
})

it('VFs in use are not sacrificed to find out', async () => {
  const { machine, asked, tree } = await hostWith(Object.assign(new Error('no dmesg'), { code: 'ENOENT' }), 8)
  await using _ = tree
  await machine.write(`/sys/bus/pci/devices/${PF}/sriov_numvfs`, '2')
  const inUse = async (): Promise<string> => 'a pod'
  await expect(vfMaximum(machine, await pfOf(machine), { ...options, inUse })).rejects.toMatchObject({ code: 'ALREADY_EXISTS' })
  expect(asked).toEqual(['2'])
})
