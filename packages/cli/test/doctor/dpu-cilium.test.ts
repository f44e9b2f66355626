import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { systemClock } from '@cni-offload/sdk'
import { FakeCiliumAgent } from '@cni-offload/testing/cilium'
import { FakeKubectl, notFound, prints } from '@cni-offload/testing/kubectl'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { stringify } from 'yaml'
import { dpuChecks, type DpuDoctorOptions } from '../../src/doctor/dpu.ts'
import { Kubectl } from '../../src/kubectl/kubectl.ts'
import { diagnose } from './finding.ts'

const moduleOf = (name: string): string => fileURLToPath(import.meta.resolve(name))

let dir: string
const socket = (name: string): string => join(dir, `${name}.sock`)
const cilium = (network: string, name: string, more: object = { mode: 'agent-api' }): object => ({
  network,
  plugin: moduleOf('@cni-offload/adapter-cilium'),
  options: { socket: socket(name), nodeName: 'host-1', ...more },
})
const write = async (adapters: readonly object[]): Promise<void> => {
  const config = {
    node: 'n1',
    listen: `unix:${join(dir, 'agent.sock')}`,
    tls: { ca: 'ca.crt', cert: 'tls.crt', key: 'tls.key' },
    stateDir: 'state',
    hardware: { plugin: moduleOf('@cni-offload/hw-soft'), export: 'softDpu', options: { device: 'soft0', vfs: 2 } },
    adapters,
  }
  await writeFile(join(dir, 'agent.yaml'), stringify(config))
}

beforeEach(async () => {
  dir = await mkdtemp(join(tmpdir(), 'doctor-'))
  await write([cilium('one', 'a'), cilium('two', 'b'), cilium('three', 'a')])
})

afterEach(async () => {
  await rm(dir, { recursive: true, force: true })
})

const look = async (more: Partial<DpuDoctorOptions> = {}): ReturnType<typeof diagnose> =>
  await diagnose(await dpuChecks({ config: join(dir, 'agent.yaml'), clock: systemClock, ...more }))

describe('a DPU with cilium-agents', { timeout: 120_000 }, () => {
  it('has each of them looked at once, by what its adapter expects', async () => {
    await using _a = await FakeCiliumAgent.start({ socket: socket('a'), nodeName: 'host-1' })
    await using _b = await FakeCiliumAgent.start({ socket: socket('b'), nodeName: 'dpu-1' })
    const results = await look()
    expect(Object.keys(results).filter((id) => id.endsWith('.socket'))).toEqual(['cilium.socket', 'cilium.two.socket'])
    expect(results).toMatchObject({ 'cilium.node': { state: 'ok', seen: 'host-1' }, 'cilium.two.node': { state: 'fail', seen: 'dpu-1' } })
    expect(await look({ node: 'dpu-1', ciliumSocket: socket('b') })).toMatchObject({ 'cilium.node': { state: 'ok', seen: 'dpu-1' } })
  })

  it('has the plugins looked at that it splices with: those of Cilium, with the socket of its agent', async () => {
    const plugins = [{ type: 'cilium-cni' }]
    const splice = (more: object): object => cilium('one', 'a', { cniPath: [dir], conflist: { cniVersion: '1.0.0', plugins }, ...more })
    await write([splice({})])
    expect((await look())['agent.plugins.one']).toMatchObject({ state: 'fail', why: `plugin "cilium-cni" is in none of ${dir}` })
    const body = `[ "$CILIUM_SOCK" = ${socket('a')} ] && echo '{"supportedVersions":["1.0.0"]}'`
    await writeFile(join(dir, 'cilium-cni'), `#!/bin/sh\n${body}\n`, { mode: 0o755 })
    expect((await look())['agent.plugins.one']).toMatchObject({ state: 'ok', seen: 'cilium-cni, version 1.0.0' })
    await write([splice({ conflist: { cniVersion: '1.0.0', plugins: [{ type: 'bridge' }] } })])
    expect((await look())['agent.plugins.one']).toMatchObject({
      state: 'fail',
      why: expect.stringContaining('no plugin "cilium-cni"') as string,
    })
    await write([splice({ conflist: undefined, conflistFile: join(dir, '05-cilium.conflist') })])
    expect((await look())['agent.plugins.one']).toMatchObject({
      state: 'fail',
      why: expect.stringContaining('05-cilium.conflist cannot be read') as string,
    })
  })

  it('can be looked at before there is a configuration', async () => {
    await using _a = await FakeCiliumAgent.start({ socket: socket('a'), nodeName: 'host-1' })
    const options = { config: join(dir, 'none.yaml'), ciliumSocket: socket('a'), node: 'host-2' }
    expect(await look({ ...options, configOptional: true })).toMatchObject({
      'agent.config': { state: 'skipped', why: expect.stringContaining('none.yaml cannot be read') as string },
      'cilium.node': { state: 'fail', seen: 'host-1', remedy: "Set K8S_NODE_NAME=host-2 in the agent's environment." },
    })
    expect(await look(options)).toMatchObject({ 'agent.config': { state: 'fail' }, 'cilium.socket': { state: 'ok' } })
  })

  it('has its cluster asked for the node that the adapter expects', async () => {
    await using fake = await FakeKubectl.start()
    fake
      .expect('version -o json', prints({ serverVersion: { gitVersion: 'v1.34.0' } }))
      .expect('get node host-1 -o json', notFound('nodes', 'host-1'))
      .expect('get pods -A -l k8s-app=cilium --field-selector spec.nodeName=host-1 -o json', prints({ items: [] }))
      .expect('get configmap cilium-config -n cilium -o json', prints({ data: {} }))
    const kubectl = new Kubectl({ executable: fake.executable, timeoutMs: 60_000 })
    const results = await look({ cluster: { kubectl, asked: true, ciliumNamespace: 'cilium' } })
    expect(results).toMatchObject({
      'k8s.node': { state: 'fail', seen: 'no node host-1' },
      'k8s.cilium-config': { state: 'ok', seen: 'cilium/cilium-config, 0 settings' },
    })
    fake.verify()
  })
})
