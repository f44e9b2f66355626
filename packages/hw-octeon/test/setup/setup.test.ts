import { OffloadError } from '@cni-offload/sdk'
import { describe, expect, it } from 'vitest'
import { editText, planSetup, readInventory, Receipt, RECEIPT_FILE, stepOf } from '../../src/index.ts'
import { AGENTS, Bench, dpuBench, Fate } from './bench.ts'

const planned = async (bench: Bench): Promise<string[]> => {
  const site = bench.site()
  const changes = await planSetup(await readInventory(site.machine), bench.wish, site)
  return changes.flatMap((change) => stepOf(change).edits.map(editText))
}

it('says exactly what it would change on a DPU, and changes nothing by saying it', async () => {
  await using bench = await dpuBench('12.25.01')
  const before = await bench.touched()
  expect(await planned(bench)).toEqual([
    'run: modprobe vfio-pci',
    '/proc/sys/vm/nr_hugepages: 0 → 8 (pages of 32768 kB)',
    'run: mkdir /dev/huge',
    'run: mount -t hugetlbfs none /dev/huge',
    '/sys/bus/pci/devices/0000:06:00.0/driver_override: (null) → vfio-pci',
    '/sys/bus/pci/devices/0000:06:00.0/driver: octeontx2-dpi → vfio-pci',
    '/sys/bus/pci/devices/0001:00:10.0/driver_override: (null) → vfio-pci',
    '/sys/bus/pci/devices/0001:00:10.0/driver: none → vfio-pci',
    'run: mkdir /etc/cni-offload',
    'run: mkdir /etc/cni-offload/octeon',
    '/etc/cni-offload/octeon/cn106xx.cfg: no file → 1 lines',
    'interface of 0002:01:00.1: down → up',
    'addresses of the interface of 0002:01:00.1: without → 192.168.1.1/24',
  ])
  expect(await bench.touched()).toEqual(before)
})

it('says what it would change on a host', async () => {
  await using bench = await Bench.create('host', { addresses: ['fe80::2/64'] })
  expect(await planned(bench)).toEqual([
    'run: modprobe octeon_ep',
    'run: modprobe octeon_ep_vf',
    'interface of 0000:01:00.0: down → up',
    'addresses of the interface of 0000:01:00.0: without → fe80::2/64',
  ])
  expect(await bench.setUp()).toBe(4)
  expect(await bench.setUp()).toBe(0)
})

it.each([
  [2048, 128],
  [524_288, 1],
] as const)('pages of %d kB: %d hold what the agent needs', async (hugepageKb, pages) => {
  await using bench = await dpuBench('12.25.01', { hugepageKb })
  await bench.setUp()
  expect(await bench.machine.read('/proc/sys/vm/nr_hugepages')).toBe(`${pages}\n`)
})

it('the pool of huge pages is only raised, and what is mounted is not mounted again', async () => {
  await using bench = await dpuBench('12.25.01')
  await bench.machine.write('/proc/sys/vm/nr_hugepages', '20')
  await bench.machine.run(['mkdir', '/mnt'], AbortSignal.timeout(1000))
  await bench.machine.run(['mount', '-t', 'hugetlbfs', 'none', '/mnt'], AbortSignal.timeout(1000))
  expect((await planned(bench)).filter((line) => /huge/.test(line))).toEqual([])
})

for (const firmware of Object.keys(AGENTS) as (keyof typeof AGENTS)[]) {
  for (const layout of ['af', 'sdp'] as const) {
    it(
      `firmware ${firmware}, layout ${layout}: a second time changes nothing, and undo brings back every byte`,
      { timeout: 120_000 },
      async () => {
        await using bench = await dpuBench(firmware, { layout, vfs: 1 })
        // Looking at everything takes seconds: once is enough to know that nothing else is touched.
        const everything = firmware === '12.25.01' && layout === 'af' ? await bench.state() : undefined
        const before = await bench.touched()
        expect(await bench.setUp()).toBeGreaterThan(0)
        const after = await bench.touched()
        expect(after).not.toEqual(before)
        expect(await bench.setUp()).toBe(0)
        expect(await bench.touched()).toEqual(after)
        const undone = await bench.undo()
        expect(undone.map(({ outcome }) => outcome)).toEqual(undone.map(() => 'undone'))
        expect(await bench.touched()).toEqual(before)
        if (everything !== undefined) expect(await bench.state()).toEqual(everything)
        expect(await bench.undo()).toEqual([])
      },
    )
  }
}

const failures = (undone: Awaited<ReturnType<Bench['undo']>>): unknown[] =>
  undone.map(({ outcome }) => outcome).filter((outcome) => typeof outcome !== 'string')

// A process that dies after a change leaves the same as one that dies before the next.
describe('a process that dies before any of its changes', { timeout: 240_000 }, () => {
  it('of the set-up: another run goes on, and undo brings back every byte', async () => {
    await using bench = await dpuBench('12.25.01', { vfs: 1 })
    const before = await bench.touched()
    const whole = new Fate()
    await bench.setUp(whole)
    await bench.undo()
    // Each of the changes, and the receipt before it.
    expect(whole.changes).toBeGreaterThan(24)
    for (let at = 1; at <= whole.changes; at++) {
      await expect(bench.setUp(new Fate(at))).rejects.toThrow()
      if (at % 3 === 0) {
        await bench.setUp()
        expect(await bench.setUp(), `change ${at}`).toBe(0)
      }
      expect(failures(await bench.undo()), `change ${at}`).toEqual([])
      expect(await bench.touched(), `change ${at}`).toEqual(before)
    }
  })

  it('of undo: another undo brings back every byte', async () => {
    await using bench = await dpuBench('12.25.01', { vfs: 1 })
    const before = await bench.touched()
    const whole = new Fate()
    await bench.setUp()
    await bench.undo(whole)
    for (let at = 1; at <= whole.changes; at++) {
      await bench.setUp()
      await bench.undo(new Fate(at)).catch(() => {})
      // A set-up that goes on in the middle, and dies, too.
      if (at % 3 === 0) await bench.setUp(new Fate(3)).catch(() => {})
      expect(failures(await bench.undo()), `change ${at}`).toEqual([])
      expect(await bench.touched(), `change ${at}`).toEqual(before)
    }
  })
})

it('what somebody else has changed since is left, and said', async () => {
  await using bench = await dpuBench('12.25.01')
  await bench.setUp()
  await bench.machine.write('/proc/sys/vm/nr_hugepages', '30')
  await bench.machine.place('/etc/cni-offload/octeon/cn106xx.cfg', 'mine')
  const left = (await bench.undo()).flatMap(({ outcome }) => (typeof outcome === 'object' && 'left' in outcome ? [outcome.left] : []))
  expect(left).toEqual([
    '/etc/cni-offload/octeon/cn106xx.cfg: somebody has changed it since',
    '/etc/cni-offload/octeon: somebody has put 1 files or folders into it since',
    '/etc/cni-offload: somebody has put 1 files or folders into it since',
    '/proc/sys/vm/nr_hugepages = 30: somebody has set it since',
  ])
  expect(await bench.undo()).toEqual([])
})

it('the old text of a file comes back, also after several set-ups', async () => {
  await using bench = await dpuBench('12.25.01')
  const path = '/etc/cni-offload/octeon/cn106xx.cfg'
  await bench.machine.place(path, 'old')
  await bench.setUp()
  const site = bench.site()
  const again = { ...bench.wish, config: { path, text: 'newer\n' } }
  const changes = await planSetup(await readInventory(site.machine), again, site)
  expect(changes).toEqual([{ kind: 'file', path, before: 'soc = { pems = ( ); };\n', after: 'newer\n' }])
  const receipt = await Receipt.open(site.machine)
  for (const change of changes) {
    await receipt.begin(change)
    await stepOf(change).apply(site)
  }
  expect(await bench.machine.read(path)).toBe('newer\n')
  await bench.undo()
  expect(await bench.machine.read(path)).toBe('old')
})

it('what cannot be undone stays in the receipt, and the rest is undone', async () => {
  await using bench = await dpuBench('12.25.01')
  await bench.setUp()
  bench.machine.install('umount', () => ({ exitCode: 32, exitSignal: null, stdout: '', stderr: 'umount: /dev/huge: target is busy.\n' }))
  const failed = (await bench.undo()).filter(({ outcome }) => OffloadError.is(outcome))
  expect(failed.map(({ step }) => step.change.kind)).toEqual(['mount'])
  expect(failed[0]?.outcome).toMatchObject({ code: 'KERNEL_REFUSED', message: expect.stringContaining('target is busy') })
  expect((await Receipt.open(bench.machine)).changes.map(({ kind }) => kind)).toEqual(['mount'])
  expect(await bench.machine.read('/proc/sys/vm/nr_hugepages')).toBe('0\n')
})

it('fewer huge pages than wanted are given back', async () => {
  await using bench = await dpuBench('12.25.01')
  const { machine } = bench
  const write = machine.write.bind(machine)
  machine.write = async (path, text) => await write(path, path.endsWith('nr_hugepages') && text === '8' ? '3' : text)
  await expect(bench.setUp()).rejects.toMatchObject({ code: 'HARDWARE_FAILURE', message: expect.stringContaining('only 3 pages') })
  expect(await machine.read('/proc/sys/vm/nr_hugepages')).toBe('0\n')
})

it('a receipt that cannot be understood is not thrown away', async () => {
  await using bench = await dpuBench('12.25.01')
  for (const text of [
    '{',
    '{"version":2,"ownFolder":true,"entries":[]}',
    '{"version":1,"ownFolder":true,"entries":[{"boot":"x","change":{"kind":"magic"}}]}',
  ]) {
    await bench.machine.place(RECEIPT_FILE, text)
    await expect(bench.undo()).rejects.toMatchObject({ code: 'UNDECODABLE', message: expect.stringContaining(RECEIPT_FILE) })
    expect(await bench.machine.read(RECEIPT_FILE)).toBe(text)
  }
})

it('what did not outlive a boot is not undone after it', async () => {
  await using bench = await dpuBench('12.25.01')
  await bench.setUp()
  const read = bench.machine.read.bind(bench.machine)
  bench.machine.read = async (path) => (path.endsWith('boot_id') ? 'another boot\n' : await read(path))
  expect((await Receipt.open(bench.machine)).changes.map(({ kind }) => kind)).toEqual(['folder', 'folder', 'folder', 'file'])
})

it('refuses a machine without a card, a host with an agent, and addresses that are none', async () => {
  await using bench = await dpuBench('12.25.01')
  const site = bench.site()
  const none = { side: undefined, functions: [] }
  await expect(planSetup(none, {}, site)).rejects.toMatchObject({ code: 'HARDWARE_FAILURE' })
  await expect(planSetup({ ...none, side: 'host' }, bench.wish, site)).rejects.toMatchObject({
    code: 'INVALID_CONFIG',
    hint: 'Run this on the DPU.',
  })
  const inventory = await readInventory(site.machine)
  for (const address of ['192.168.1.1', 'x/24', '192.168.1.1/33']) {
    await expect(planSetup(inventory, { addresses: [address] }, site)).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining(address),
    })
  }
  expect(await planSetup(inventory, { addresses: [] }, site)).toEqual([])
  await expect(planSetup(inventory, { agent: { ...AGENTS['12.25.01'], vfio: ['0009:00:00.0'] } }, site)).rejects.toMatchObject({
    code: 'NOT_FOUND',
  })
})
