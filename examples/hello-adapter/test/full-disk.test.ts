import { createLinuxNet } from '@cni-offload/linux'
import { silentLogger, systemClock } from '@cni-offload/sdk'
import { isRoot, PortBench, ROOT_REASON } from '@cni-offload/testing'
import { TinyDisk } from '@cni-offload/testing/faults'
import { expect, test } from 'vitest'
import { hello } from '../src/index.ts'

test.skipIf(!isRoot())(`an attach fails while the disk is full, leaves nothing, and works afterwards (${ROOT_REASON})`, async () => {
  await using net = createLinuxNet()
  await using bench = await PortBench.create({ net, ports: 1 })
  await using disk = await TinyDisk.mount()
  const deps = { log: silentLogger, clock: systemClock, stateDir: disk.path }
  const adapter = await hello({ netns: bench.dpuNetns }).create(deps)
  await using _adapter = { [Symbol.asyncDispose]: async () => await adapter[Symbol.asyncDispose]?.() }
  const ctx = { signal: AbortSignal.timeout(20_000), log: silentLogger }
  const [{ pod, port, vfMac }] = bench.ports as [(typeof bench.ports)[0]]
  const request = {
    key: pod.key('podnet'),
    pod: pod.identity,
    port,
    vfMac,
    netconf: { cniVersion: '1.1.0', name: 'podnet', type: 'offload-cni' },
    runtimeConfig: {},
    cniArgs: {},
    flags: { ipsec: false },
  }
  await adapter.start?.([port], ctx)

  disk.fill()
  await expect(adapter.attach(request, ctx)).rejects.toMatchObject({ code: 'JOURNAL_FAILURE' })
  expect(await adapter.list(ctx)).toEqual([])
  expect(await net.link(bench.dpuNetns, port.name)).toMatchObject({ up: false })

  disk.free()
  await adapter.attach(request, ctx)
  expect(await adapter.list(ctx)).toEqual([request.key])
  await adapter.detach(request, ctx)
  expect(await adapter.list(ctx)).toEqual([])
})
