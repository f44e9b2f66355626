import { describe, expect, it } from 'vitest'
import { z } from 'zod'
import { definePlugin, type HostDevice, silentLogger, systemClock } from '../../src/index.ts'
import { loadPlugin } from '../../src/runtime/plugin-loader.ts'

const device: HostDevice = {
  name: 'fake',
  specVersion: 'v1',
  discover: async () => [],
  acquire: async () => ({ name: 'x', mac: '', mtu: 1500 }),
  release: async () => {},
  async *watch() {},
}
const host = definePlugin({
  kind: 'host-device',
  name: 'fake',
  specVersion: 'v1',
  options: z.object({ vfs: z.number().int() }),
  create: () => device,
})
const other = definePlugin({ kind: 'host-device', name: 'other', specVersion: 'v1', options: z.object({}), create: () => device })
const dpu = definePlugin({
  kind: 'dpu-device',
  name: 'fake',
  specVersion: 'v1',
  options: z.object({}),
  create: () => Promise.reject(new Error('unused')),
})
const load = (module: unknown, reference: object = {}) =>
  loadPlugin('host-device', { plugin: '@x/fake', options: { vfs: 2 }, ...reference }, async (specifier) => {
    expect(specifier).toBe('@x/fake')
    return module
  })

describe('loadPlugin', () => {
  it('takes the only export of the kind and parses its options', async () => {
    const configured = await load({ dpu, host, version: '1' })
    expect(configured.kind).toBe('host-device')
    expect(await configured.create({ log: silentLogger, clock: systemClock, stateDir: '/tmp' })).toBe(device)
  })

  it('takes one plugin exported twice, by name and as default, without asking', async () => {
    expect((await load({ host, default: host })).name).toBe('fake')
  })

  it('asks which of several is meant', async () => {
    await expect(load({ host, other })).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining('choose one of: host, other'),
    })
    expect((await load({ host, other }, { export: 'other', options: {} })).name).toBe('other')
  })

  it.each([
    ['an export that is missing', { host }, { export: 'nope' }, 'export "nope"'],
    ['an export of another kind', { dpu, host }, { export: 'dpu' }, 'kind host-device is expected'],
    ['a module without plugins', { version: 1 }, {}, 'it exports none (exports: version)'],
    ['a module that is nothing', undefined, {}, 'exports: nothing'],
    ['options that the plugin refuses', { host }, { options: { vfs: 'many' } }, 'vfs = "many"'],
  ])('refuses %s', async (_what, module, reference, text) => {
    await expect(load(module, reference)).rejects.toMatchObject({ code: 'INVALID_CONFIG', message: expect.stringContaining(text) })
  })

  it('says what to install when the package is not there', async () => {
    await expect(loadPlugin('adapter', { plugin: '@cni-offload/no-such-package' })).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      hint: expect.stringContaining('npm install @cni-offload/no-such-package'),
    })
  })
})
