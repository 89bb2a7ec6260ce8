/* A recording through an exported recogniser on a Cortex-M under QEMU's mps2 boards: words, instructions, stack.
 *
 * Output goes by semihosting. With -icount shift=0 an instruction takes 1 ns, and a tick of SysTick at 25 MHz 40 ns.
 */
#include <stdint.h>

#include "recognizer.h"

#define INSTRUCTIONS_PER_TICK 40u
#define PAINT 0xa5a5a5a5u
#define REGISTER(address) (*(volatile uint32_t *)(address))

extern const int16_t recording[];
extern const uint32_t recording_length;
extern uint32_t data_from[], data_start[], data_end[], bss_start[], bss_end[], stack_bottom[], stack_top[];

static recognizer state;

static int semihost(int operation, const void *argument)
{
    register int r0 __asm__("r0") = operation;
    register const void *r1 __asm__("r1") = argument;
    __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
    return r0;
}

static void print(const char *text)
{
    semihost(4, text);
}

static void print_number(const char *name, uint32_t value)
{
    char digits[12];
    int place = 11;

    digits[place] = '\0';
    do
        digits[--place] = (char)('0' + value % 10);
    while (value /= 10);
    print(name);
    print(digits + place);
    print("\n");
}

static void print_word(void *context, const recognizer_event *event)
{
    (void)context;
    if (event->kind == RECOGNIZER_WORD) {
        print("word ");
        print(event->text);
        print_number(" ", event->start_frame);
    }
}

static uint32_t ticks(void)
{
    return REGISTER(0xe000e018);
}

static int main_program(void)
{
    const uint32_t hop = RECOGNIZER_SAMPLE_RATE / 100;
    uint32_t n, begun, spent = 0, longest = 0, *painted = stack_bottom;

    REGISTER(0xe000e014) = 0xffffff;
    REGISTER(0xe000e018) = 0;
    REGISTER(0xe000e010) = 5; /* on, by the processor's clock */
    recognizer_init(&state, print_word, 0);
    for (n = 0; n < recording_length; n += hop) {
        begun = ticks();
        recognizer_accept(&state, recording + n, recording_length - n < hop ? recording_length - n : hop);
        begun = (begun - ticks()) & 0xffffff;
        spent += begun;
        if (begun > longest)
            longest = begun;
    }
    recognizer_finish(&state);
    while (*painted == PAINT)
        painted++;
    print_number("kiloinstructions ", spent / (1000 / INSTRUCTIONS_PER_TICK));
    print_number("longest_kiloinstructions ", longest / (1000 / INSTRUCTIONS_PER_TICK));
    print_number("state ", sizeof state);
    print_number("stack ", (uint32_t)((stack_top - painted) * sizeof *painted));
    return 0;
}

void reset(void)
{
    uint32_t *from = data_from, *to, *here;

    for (here = stack_bottom; here < (uint32_t *)&to - 16; here++)
        *here = PAINT;
    for (to = data_start; to < data_end;)
        *to++ = *from++;
    for (to = bss_start; to < bss_end;)
        *to++ = 0;
#if defined(__ARM_FP)
    REGISTER(0xe000ed88) |= 0xf << 20; /* the floating-point unit on */
    __asm__ volatile("dsb\n isb");
#endif
    main_program();
    semihost(0x18, (const void *)0x20026);
    for (;;)
        ;
}

__attribute__((section(".vectors"), used)) static const void *const vectors[] = {stack_top, (const void *)reset};
