import { z } from 'zod'

/** Schema of the name of a card, an option of every backend. */
export const deviceName: z.ZodString = z.string().regex(/^[a-z][a-z0-9]{0,7}$/, '1 to 8 lower-case letters and digits, a letter first')

/** Schema of the path of a network namespace. */
export const netnsPath: z.ZodString = z.string().startsWith('/', 'an absolute path of a network namespace such as /run/netns/dpu')
