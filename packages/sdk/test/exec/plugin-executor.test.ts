import { chmod, mkdir, writeFile } from 'node:fs/promises'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { PLUGIN_OWNER, type PluginCall, PluginExecutor, type PluginExecutorOptions } from '../../src/exec/index.ts'
import { ScriptFolder } from './scripts.ts'

const call: PluginCall = { verb: 'ADD', type: 'plugin', containerId: 'c', netns: '/n', ifName: 'eth0', args: '', stdin: '{}' }
const patient = AbortSignal.timeout(25_000)

describe('PluginExecutor', () => {
  let scripts: ScriptFolder
  let other: ScriptFolder
  beforeEach(async () => {
    scripts = await ScriptFolder.create()
    other = await ScriptFolder.create()
  })
  afterEach(async () => {
    await scripts[Symbol.asyncDispose]()
    await other[Symbol.asyncDispose]()
  })
  const executor = (more: Partial<PluginExecutorOptions> = {}): PluginExecutor =>
    new PluginExecutor({ cniPath: [scripts.path], timeoutMs: 20_000, ...more })

  it('returns what the plugin prints, however much it gets and gives', async () => {
    await scripts.add('plugin', 'cat')
    const stdin = JSON.stringify({ filler: 'x'.repeat(3_000_000) })
    expect(await executor().run({ ...call, stdin }, patient)).toBe(stdin)
  })

  it('does not mind a plugin that reads nothing', async () => {
    await scripts.add('plugin', 'echo done')
    expect(await executor().run({ ...call, stdin: 'x'.repeat(1_000_000) }, patient)).toBe('done\n')
  })

  it('searches the folders in order and takes only executable files', async () => {
    await other.add('plugin', 'echo other')
    await scripts.add('plugin', 'echo first')
    const run = (cniPath: readonly string[]): Promise<string> => executor({ cniPath }).run(call, patient)
    expect(await run([scripts.path, other.path])).toBe('first\n')
    expect(await run(['/nonexistent', other.path, scripts.path])).toBe('other\n')
    await chmod(`${scripts.path}/plugin`, 0o644)
    await mkdir(`${scripts.path}/folder`)
    await expect(executor().run({ ...call, type: 'folder' }, patient)).rejects.toMatchObject({ code: 'NOT_READY' })
    if (process.getuid?.() !== 0) await expect(executor().find('plugin')).rejects.toMatchObject({ code: 'NOT_READY' })
  })

  it('gives plugins the environment that the options say', async () => {
    await scripts.add('plugin', 'echo $DATASTORE_TYPE')
    expect(await executor({ env: { DATASTORE_TYPE: 'kubernetes' } }).run(call, patient)).toBe('kubernetes\n')
  })

  it('gives plugins the name of their owner, if they have one', async () => {
    await scripts.add('plugin', `echo "$${PLUGIN_OWNER}"`)
    expect(await executor({ owner: '/state' }).run(call, patient)).toBe('/state\n')
    expect(await executor().run(call, patient)).toBe('\n')
  })

  it('runs no more at a time than it may, and all in the end', async () => {
    await scripts.add(
      'plugin',
      `mkdir ${scripts.path}/slot.$$; ls -d ${scripts.path}/slot.* | wc -l; sleep 0.05; rmdir ${scripts.path}/slot.$$`,
    )
    const limited = executor({ concurrency: 2 })
    const counts = (await Promise.all(Array.from({ length: 8 }, () => limited.run(call, patient)))).map(Number)
    expect(Math.max(...counts)).toBeLessThanOrEqual(2)
    expect(counts).toHaveLength(8)
  })

  it('an abort also ends the wait for a place', async () => {
    await scripts.add('plugin', 'sleep 60')
    const limited = executor({ concurrency: 1 })
    const abort = new AbortController()
    const both = [limited.run(call, abort.signal), limited.run(call, abort.signal)].map((run) => run.catch((error: unknown) => error))
    abort.abort()
    for (const outcome of await Promise.all(both)) expect(outcome).toMatchObject({ code: 'CANCELLED' })
  })

  it('a daemon that a plugin leaves behind with its output open is not waited for beyond the time limit', async () => {
    await scripts.add('plugin', 'setsid sleep 3 & exit 0')
    await expect(executor({ timeoutMs: 600 }).run(call, patient)).rejects.toMatchObject({ code: 'DEADLINE_EXCEEDED' })
  })

  it('tells when a plugin cannot be run at all', async () => {
    await scripts.add('plugin', '')
    await writeFile(`${scripts.path}/plugin`, '#!/nonexistent\n')
    await expect(executor().run(call, patient)).rejects.toMatchObject({
      code: 'ADAPTER_FAILED',
      message: expect.stringContaining('could not be run'),
    })
  })
})
