import { fork } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { fileURLToPath } from 'node:url'
import { expect, it } from 'vitest'
import { takeSetupLock } from '../../src/index.ts'

const signal = (): AbortSignal => AbortSignal.timeout(30_000)
const nameOf = (what: string): string => `cni-offload/test-${process.pid}-${what}`

it('is had by one at a time, who is named to the others', async () => {
  const name = nameOf('one')
  const first = await takeSetupLock('the first', signal(), name)
  await expect(takeSetupLock('the second', signal(), name)).rejects.toMatchObject({
    code: 'NOT_READY',
    message: expect.stringMatching(
      new RegExp(`^another set-up of this machine is under way: the first, process ${process.pid}, since \\d{4}-`),
    ),
    hint: expect.stringContaining('Nothing was changed'),
  })
  await first[Symbol.asyncDispose]()
  await using _second = await takeSetupLock('the second', signal(), name)
})

it('is taken over from a process that was killed', { timeout: 60_000 }, async () => {
  const name = nameOf('killed')
  const child = fork(fileURLToPath(new URL('./hold-lock.mjs', import.meta.url)), [name])
  const ended = once(child, 'exit')
  await once(child, 'message')
  const refused = { message: expect.stringContaining(`a test, process ${child.pid}`) }
  await expect(takeSetupLock('me', signal(), name)).rejects.toMatchObject(refused)
  child.kill('SIGKILL')
  await ended
  await using _mine = await takeSetupLock('me', signal(), name)
})

it('does not wait for one that has it and says nothing', { timeout: 60_000 }, async () => {
  const name = nameOf('silent')
  const silent = createServer().listen(`\0${name}`)
  await once(silent, 'listening')
  await expect(takeSetupLock('me', signal(), name)).rejects.toMatchObject({ message: 'another set-up of this machine is under way' })
  silent.close()
})

it('is not waited for by who is told to end', async () => {
  await expect(takeSetupLock('me', AbortSignal.abort(new Error('no time')), nameOf('aborted'))).rejects.toThrow(/abort|no time/)
})
