import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { PluginConf } from '@cni-offload/sdk/exec'
import { expect, it } from 'vitest'
import { ciliumOptions } from '../../src/index.ts'
import { CiliumListFile } from '../../src/splice/cilium-list.ts'

const load = async (plugins: readonly PluginConf[]): Promise<unknown> => {
  const folder = await mkdtemp(join(tmpdir(), 'cilium-list-'))
  try {
    const file = join(folder, '05-cilium.conflist')
    await writeFile(file, JSON.stringify({ cniVersion: '0.3.1', name: 'cilium', plugins }))
    return await new CiliumListFile(file).load()
  } finally {
    await rm(folder, { recursive: true })
  }
}

it('the list that the agent writes is taken, with what somebody has put after it', async () => {
  expect(await load([{ type: 'cilium-cni', 'enable-debug': false }])).toMatchObject({ plugins: [{ type: 'cilium-cni' }] })
  expect(await load([{ type: 'cilium-cni' }, { type: 'portmap' }])).toMatchObject({ plugins: [{}, { type: 'portmap' }] })
})

it.each([
  ['has no plugin "cilium-cni"', [{ type: 'bridge' }], 'delegate'],
  ['chains "cilium-cni" after "flannel"', [{ type: 'flannel' }, { type: 'cilium-cni' }], 'cni.chainingMode=none'],
  ['has chaining-mode = generic-veth', [{ type: 'cilium-cni', 'chaining-mode': 'generic-veth' }], 'cni.chainingMode=none'],
])('a list that %s is refused with what to do', async (message, plugins, hint) => {
  await expect(load(plugins)).rejects.toMatchObject({
    code: 'INVALID_CONFIG',
    message: expect.stringContaining(message),
    hint: expect.stringContaining(hint),
  })
})

it('options of one mode are refused in the other', () => {
  expect(ciliumOptions.parse({})).toMatchObject({ mode: 'splice', conflistFile: '/etc/cni/net.d/05-cilium.conflist' })
  expect(() => ciliumOptions.parse({ mode: 'agent-api', cniPath: ['/x'] })).toThrow('cniPath')
  expect(() => ciliumOptions.parse({ pluginEnv: { CILIUM_SOCK: '/x' } })).toThrow('CILIUM_SOCK')
})
