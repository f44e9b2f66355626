import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { ipamTypes, listCapabilities, PluginListFile, pluginList } from '../../src/exec/index.ts'
import { parseWith } from '../../src/index.ts'

describe('pluginList', () => {
  it('keeps what it does not know and fills in what is missing', () => {
    expect(pluginList.parse({ cniVersion: '0.3.1', plugins: [{ type: 'bridge', vlan: 5 }] })).toEqual({
      cniVersion: '0.3.1',
      name: 'cni-offload',
      disableCheck: false,
      plugins: [{ type: 'bridge', vlan: 5 }],
    })
    expect(pluginList.parse({ cniVersion: '1.0.0', name: 'n', disableCheck: 'true', plugins: [{ type: 'x' }] }).disableCheck).toBe(true)
  })

  it.each([
    ['no plugins', { cniVersion: '1.0.0', plugins: [] }],
    ['an unknown version', { cniVersion: '7.0.0', plugins: [{ type: 'x' }] }],
    ['a type that leads elsewhere', { cniVersion: '1.0.0', plugins: [{ type: '../evil' }] }],
    ['a name with a slash', { cniVersion: '1.0.0', name: 'a/b', plugins: [{ type: 'x' }] }],
    ['no type', { cniVersion: '1.0.0', plugins: [{}] }],
  ])('refuses %s', (_what, list) => {
    expect(() => parseWith(pluginList, list, 'list', 'INVALID_CONFIG')).toThrow(expect.objectContaining({ code: 'INVALID_CONFIG' }))
  })

  it('knows the capabilities and IPAM plugins of all its plugins', () => {
    const list = pluginList.parse({
      cniVersion: '1.0.0',
      plugins: [
        { type: 'a', capabilities: { portMappings: true, mac: false }, ipam: { type: 'host-local' } },
        { type: 'b', capabilities: { ips: true, portMappings: true }, ipam: {} },
      ],
    })
    expect(listCapabilities(list)).toEqual(['ips', 'portMappings'])
    expect(listCapabilities(undefined)).toEqual([])
    expect(ipamTypes(list)).toEqual(['host-local'])
  })
})

describe('PluginListFile', () => {
  let folder: string
  beforeEach(async () => {
    folder = await mkdtemp(join(tmpdir(), 'list-'))
  })
  afterEach(() => rm(folder, { recursive: true }))

  it('is not ready until somebody writes the file, and follows it', async () => {
    const path = join(folder, '10-net.conflist')
    const write = async (name: string): Promise<void> => {
      await writeFile(`${path}.tmp`, JSON.stringify({ cniVersion: '1.0.0', name, plugins: [{ type: 'x', capabilities: { mac: true } }] }))
      await rename(`${path}.tmp`, path)
    }
    const source = new PluginListFile(path)
    await expect(source.load()).rejects.toMatchObject({ code: 'NOT_READY', message: expect.stringContaining(path) })
    expect(source.current).toBeUndefined()
    await write('one')
    expect((await source.load()).name).toBe('one')
    expect(await source.load()).toBe(source.current)
    await write('another')
    expect((await source.load()).name).toBe('another')
  })

  it.each(['{', '[]', '{"cniVersion":"1.0.0"}'])('refuses a file that holds %s', async (text) => {
    await writeFile(join(folder, 'f'), text)
    await expect(new PluginListFile(join(folder, 'f')).load()).rejects.toMatchObject({
      code: 'INVALID_CONFIG',
      message: expect.stringContaining(`${folder}/f`),
    })
  })
})
