import { beforeEach, expect, it } from 'vitest'
import type { Clock } from '@cni-offload/sdk'
import { setVfCount, type VfCountOptions } from '../../src/pci/index.ts'
import { FakeKernel, systemError } from './fake-kernel.ts'

const PF = '0000:01:00.0'
const FILE = `/sys/bus/pci/devices/${PF}/sriov_numvfs`

/** Time that passes only while somebody waits; what happens meanwhile is in `later`, one for each pause. */
class Time implements Clock {
  at = 0
  readonly later: (() => void)[] = []
  now = (): number => this.at
  monotonic = (): number => this.at
  async sleep(ms: number, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    this.at += ms
    this.later.shift()?.()
  }
}

let time: Time
let kernel: FakeKernel
let options: VfCountOptions

const addressOf = (n: number): string => `0000:01:0${2 + (n >> 3)}.${n & 7}`
const pf = (): NonNullable<ReturnType<FakeKernel['get']>> => kernel.get(PF)

/** What the kernel does with a number that it accepts. */
const create = (count: number, driver: string | null = 'net-vf'): void => {
  const { sriov, virtfns } = pf()
  if (sriov === undefined || virtfns === undefined) throw new Error('no SR-IOV')
  for (const address of virtfns.values()) kernel.functions.delete(address)
  virtfns.clear()
  sriov.enabled = count
  for (let n = 0; n < count; n++) {
    virtfns.set(n, addressOf(n))
    const bound = driver === null ? {} : { driver, net: [`enp1s0v${n}`] }
    kernel.add(addressOf(n), { vendor: '177d', device: 'b903', drivers: ['net-vf'], physfn: PF, ...bound })
  }
}

const numvfs = (make: (count: number) => void = create, limit: number = 64): void => {
  kernel.instead.set(FILE, (text) => {
    const count = Number(text)
    const enabled = pf().sriov?.enabled ?? 0
    if (count === enabled) return
    if (count !== 0 && enabled !== 0) throw systemError('EBUSY')
    if (count > limit) throw systemError('EINVAL')
    make(count)
  })
}

const refuseWith = (code: string): void => {
  kernel.instead.set(FILE, () => {
    throw systemError(code)
  })
}

beforeEach(() => {
  time = new Time()
  kernel = new FakeKernel().add(PF, {
    vendor: '177d',
    device: 'b900',
    drivers: ['net-pf'],
    driver: 'net-pf',
    net: ['enp1s0'],
    virtfns: new Map(),
    sriov: { total: 64, enabled: 0 },
  })
  numvfs()
  options = { clock: time, signal: new AbortController().signal, inUse: async () => undefined }
})

it('makes VFs and tells them by number', async () => {
  const { vfs, changed } = await setVfCount(kernel, PF, 12, options)
  expect(changed).toBe(true)
  expect(vfs.map(({ address }) => address)).toEqual(Array.from({ length: 12 }, (_, n) => addressOf(n)))
  expect(kernel.writes).toEqual([`${FILE} = "12"`])
})

it('writes nothing where there are that many', async () => {
  create(8)
  expect(await setVfCount(kernel, PF, 8, options)).toMatchObject({ changed: false, vfs: { length: 8 } })
  expect(kernel.writes).toEqual([])
})

it('goes over 0 to another number, and waits until the old ones are gone', async () => {
  create(8)
  numvfs((count) => {
    if (count !== 0) return create(count)
    const { sriov } = pf()
    if (sriov !== undefined) sriov.enabled = 0
    time.later.push(
      () => {},
      () => create(0),
    )
  })
  await setVfCount(kernel, PF, 4, options)
  expect(kernel.writes).toEqual([`${FILE} = "0"`, `${FILE} = "4"`])
  expect(time.at).toBeGreaterThan(0)
  expect(pf().virtfns?.size).toBe(4)
})

it('waits for the drivers and interfaces of all VFs', async () => {
  numvfs((count) => create(count, null))
  time.later.push(
    () => (kernel.get(addressOf(0)).driver = 'net-vf'),
    () => (kernel.get(addressOf(0)).net = ['a']),
    () => Object.assign(kernel.get(addressOf(1)), { driver: 'net-vf', net: ['b'] }),
  )
  const { vfs } = await setVfCount(kernel, PF, 2, options)
  expect(vfs.map(({ netdevs }) => netdevs)).toEqual([['a'], ['b']])
})

it('does not wait for an interface that lies in a pod, nor for a VF that user space has', async () => {
  create(2)
  kernel.get(addressOf(0)).net = []
  Object.assign(kernel.get(addressOf(1)), { driver: 'vfio-pci', override: 'vfio-pci', net: undefined })
  await setVfCount(kernel, PF, 2, options)
  expect(time.at).toBe(0)
})

it('does not wait for drivers where the kernel looks for none', async () => {
  pf().sriov = { total: 64, enabled: 0, autoprobe: false }
  numvfs((count) => create(count, null))
  expect((await setVfCount(kernel, PF, 2, options)).vfs).toHaveLength(2)
})

it('says which VF did not come in time', async () => {
  numvfs((count) => create(count, null))
  await expect(setVfCount(kernel, PF, 2, { ...options, withinMs: 500 })).rejects.toMatchObject({
    code: 'NOT_READY',
    message: `${PF}: 2 VFs are wanted, but after 500 ms 0000:01:02.0 has no driver, 0000:01:02.1 has no driver`,
  })
  expect(time.at).toBe(500)
})

it('stops waiting when the caller gives up', async () => {
  const caller = new AbortController()
  numvfs((count) => create(count, null))
  time.later.push(() => caller.abort())
  await expect(setVfCount(kernel, PF, 1, { ...options, signal: caller.signal })).rejects.toMatchObject({ code: 'CANCELLED' })
})

it('touches nothing while a VF is in use', async () => {
  create(8)
  const inUse = async ({ index }: { index: number }): Promise<string | undefined> =>
    index === 3 || index === 5 ? `pod p${index}` : undefined
  for (const count of [0, 4, 12]) {
    await expect(setVfCount(kernel, PF, count, { ...options, inUse })).rejects.toMatchObject({
      code: 'ALREADY_EXISTS',
      message: expect.stringContaining('VF 3 (0000:01:02.3) is in use by pod p3, and 1 more'),
    })
  }
  expect(kernel.writes).toEqual([])
  expect(await setVfCount(kernel, PF, 8, { ...options, inUse })).toMatchObject({ changed: false })
})

it('brings the old number back when the new one is refused', async () => {
  create(8)
  numvfs(create, 10)
  await expect(setVfCount(kernel, PF, 20, options)).rejects.toMatchObject({
    code: 'INVALID_CONFIG',
    message: expect.stringContaining('EINVAL'),
  })
  expect(kernel.writes).toEqual([`${FILE} = "0"`, `${FILE} = "20"`, `${FILE} = "8"`])
  expect(pf().virtfns?.size).toBe(8)
})

it.each([-1, 1.5, 65, Number.NaN])('%d is refused before anything is written', async (count) => {
  await expect(setVfCount(kernel, PF, count, options)).rejects.toMatchObject({
    code: 'INVALID_CONFIG',
    message: expect.stringContaining('sriov_totalvfs'),
  })
  expect(kernel.writes).toEqual([])
})

it.each([
  ['EBUSY', 'KERNEL_REFUSED', 'somebody else'],
  ['EAGAIN', 'NOT_READY', 'net-pf is not ready'],
  ['ERANGE', 'INVALID_CONFIG', 'from 0 to 64'],
  ['ENOENT', 'HARDWARE_FAILURE', 'does not let VFs be made'],
  ['EPERM', 'ALREADY_EXISTS', 'virtual machines'],
  ['EINVAL', 'INVALID_CONFIG', 'fewer VFs'],
  ['EACCES', 'PERMISSION_DENIED', 'may not be written'],
  ['ENOMEM', 'KERNEL_REFUSED', 'ENOMEM'],
])('%s is %s', async (errno, code, text) => {
  refuseWith(errno)
  await expect(setVfCount(kernel, PF, 4, options)).rejects.toMatchObject({ code, message: expect.stringContaining(text) })
})

it('fewer VFs than were asked for are an error', async () => {
  numvfs((count) => create(Math.min(count, 3)))
  await expect(setVfCount(kernel, PF, 4, options)).rejects.toMatchObject({
    code: 'HARDWARE_FAILURE',
    message: expect.stringContaining('enabled only 3'),
  })
})

it('a function without SR-IOV, and none', async () => {
  pf().sriov = undefined as never
  await expect(setVfCount(kernel, PF, 4, options)).rejects.toMatchObject({
    code: 'HARDWARE_FAILURE',
    message: expect.stringContaining('not capable'),
  })
  await expect(setVfCount(kernel, '0000:0f:00.0', 4, options)).rejects.toMatchObject({ code: 'NOT_FOUND' })
})
