import { localMachine, type Machine } from '@cni-offload/linux/machine'
import { connectFakeOcteonMachine, type RemoteMachine } from '@cni-offload/testing/octeon'

/**
 * The DPU of a fake card. Its control agent is a program of this machine, so the folder of its configuration is one of this machine, too.
 *
 * @param socket - of the card
 */
export async function connectDpu(socket: string, folder: string): Promise<RemoteMachine> {
  const dpu = await connectFakeOcteonMachine(socket, 'dpu')
  const here = localMachine()
  const at = (path: string): Machine => (path === folder || path.startsWith(`${folder}/`) ? here : dpu)
  return {
    read: (path) => at(path).read(path),
    write: (path, text) => at(path).write(path, text),
    readlink: (path) => at(path).readlink(path),
    list: (path) => at(path).list(path),
    place: (path, text, mode) => at(path).place(path, text, mode),
    remove: (path) => at(path).remove(path),
    run: (argv, signal) => dpu.run(argv, signal),
    [Symbol.asyncDispose]: () => dpu[Symbol.asyncDispose](),
  }
}
