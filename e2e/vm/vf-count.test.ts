import assert from 'node:assert/strict'
import { test } from 'node:test'
import { systemClock } from '@cni-offload/sdk'
import { errnoOf } from '@cni-offload/linux/machine'
import { setVfCount, type VfCountOptions } from '@cni-offload/linux/pci'
import { vfs, machine, patience, physicalFunction } from './support.ts'

const options = (inUse: VfCountOptions['inUse'] = async () => undefined): VfCountOptions => ({
  clock: systemClock,
  signal: patience(),
  inUse,
})
const refusal = async (count: number): Promise<string | undefined> => {
  const { address } = await physicalFunction()
  const written = machine.write(`/sys/bus/pci/devices/${address}/sriov_numvfs`, String(count))
  return await written.then(
    () => undefined,
    (error: unknown) => errnoOf(error),
  )
}

test('a physical function of a real driver is read', async () => {
  const { vendor, device, driver, sriov, physfn, iommuGroup, netdevs } = await physicalFunction()
  assert.deepEqual({ vendor, device, driver, physfn }, { vendor: '8086', device: '10c9', driver: 'igb', physfn: undefined })
  assert.deepEqual({ ...sriov, enabled: 0 }, { total: 7, enabled: 0, autoprobe: true })
  assert.equal(typeof iommuGroup, 'number')
  assert.equal(netdevs?.length, 1)
})

test('VFs are made, with driver, interface and group; the same number again changes nothing', async () => {
  const { address } = await physicalFunction()
  const made = await vfs(2)
  assert.deepEqual(
    made.map(({ driver, physfn, netdevs }) => [driver, physfn, netdevs?.length]),
    Array(2).fill(['igbvf', address, 1]),
  )
  assert.equal(new Set(made.map(({ iommuGroup }) => iommuGroup)).size, 2)
  const again = await setVfCount(machine, address, 2, options())
  assert.equal(again.changed, false)
  assert.deepEqual(again.vfs, made)
})

test('another number: the kernel wants zero in between (EBUSY), which is written; all VFs are made anew', async () => {
  const { address } = await physicalFunction()
  await vfs(2)
  assert.equal(await refusal(3), 'EBUSY')
  const three = await setVfCount(machine, address, 3, options())
  assert.deepEqual([three.vfs.length, three.changed], [3, true])
  assert.equal((await physicalFunction()).sriov?.enabled, 3)
})

test('more than there can be: the kernel says ERANGE, nothing is touched', async () => {
  const { address } = await physicalFunction()
  const before = await vfs(3)
  assert.equal(await refusal(8), 'ERANGE')
  await assert.rejects(setVfCount(machine, address, 8, options()), { code: 'INVALID_CONFIG', message: /sriov_numvfs = 8: .* 0 to 7/ })
  assert.deepEqual(
    (await physicalFunction()).virtfns.map((vf) => vf.address),
    before.map((vf) => vf.address),
  )
})

test('while a VF is in use its number is not changed', async () => {
  const { address } = await physicalFunction()
  await vfs(3)
  const inUse: VfCountOptions['inUse'] = async ({ index }) => (index === 1 ? 'a pod' : undefined)
  await assert.rejects(setVfCount(machine, address, 2, options(inUse)), { code: 'ALREADY_EXISTS', message: /VF 1 .* in use by a pod/ })
  assert.equal((await physicalFunction()).sriov?.enabled, 3)
  assert.deepEqual((await setVfCount(machine, address, 3, options(inUse))).changed, false)
})
