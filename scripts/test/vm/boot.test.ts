import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { boot } from '../../vm/boot.ts'

let folder: string
let lines: string[]
beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'vm-boot-'))
  lines = []
})
afterEach(async () => await rm(folder, { recursive: true, force: true }))

const booted = async (
  script: string,
  signal: AbortSignal = new AbortController().signal,
  onLine: (line: string) => void = () => {},
): Promise<string | undefined> =>
  await boot({
    argv: ['/bin/sh', '-c', script],
    env: { COLOUR: 'green' },
    log: join(folder, 'log'),
    signal,
    onLine(line) {
      lines.push(line)
      onLine(line)
    },
  })

it('tells and logs what comes from the console; a machine that switches itself off has ended well', async () => {
  expect(await booted(String.raw`printf 'one\r\n%s\n' "$COLOUR"; echo warning >&2`)).toBeUndefined()
  expect(lines).toEqual(['one', 'green'])
  expect((await readFile(join(folder, 'log'), 'utf8')).split('\n').toSorted()).toEqual(['', 'green', 'one', 'warning'])
})

it('says how a machine ended otherwise', async () => {
  expect(await booted('exit 3')).toBe('QEMU ended with status 3')
  expect(await booted('kill -ABRT $$')).toBe('QEMU ended with SIGABRT')
  const options = { env: {}, log: join(folder, 'log'), signal: new AbortController().signal, onLine: () => {} }
  expect(await boot({ ...options, argv: ['/nowhere/qemu'] })).toBe('QEMU ended with status 127')
  expect(await boot({ ...options, argv: ['/nowhere/qemu'], env: { PATH: '/nowhere' } })).toBe('spawn setpriv ENOENT')
})

it('ends a machine that is told to, and says by whom', async () => {
  const controller = new AbortController()
  const outcome = await booted('echo $$; exec sleep 600', controller.signal, () => controller.abort(new Error('stopped by SIGINT')))
  expect(outcome).toBe('stopped by SIGINT')
  expect(() => process.kill(Number(lines[0]), 0)).toThrow('ESRCH')
})
